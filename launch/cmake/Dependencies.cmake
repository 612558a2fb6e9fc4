# Third-party libraries as targets. Which folder of src/ may use which one stands in src/CMakeLists.txt.
find_package(MPI REQUIRED COMPONENTS CXX)
find_package(HDF5 REQUIRED COMPONENTS C)
find_package(Boost 1.70 REQUIRED COMPONENTS program_options)
find_package(PNG REQUIRED)
find_package(LibArchive REQUIRED)
find_package(pugixml REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(Threads REQUIRED)
find_path(DEFLATE_INCLUDE_DIR libdeflate.h REQUIRED)
find_library(DEFLATE_LIBRARY deflate REQUIRED)
find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
find_path(FMT_INCLUDE_DIR fmt/format.h REQUIRED)

add_library(leda_deflate INTERFACE)
target_include_directories(leda_deflate SYSTEM INTERFACE ${DEFLATE_INCLUDE_DIR})
target_link_libraries(leda_deflate INTERFACE ${DEFLATE_LIBRARY})

add_library(leda_hdf5 INTERFACE)
target_include_directories(leda_hdf5 SYSTEM INTERFACE ${HDF5_C_INCLUDE_DIRS})
target_link_libraries(leda_hdf5 INTERFACE ${HDF5_C_LIBRARIES})

# LibTorch's include folder carries an fmt of its own that would shadow the system's. A folder that holds nothing but
# a link to the wanted fmt, searched first, keeps headers and library of one version. Not header-only: compiling fmt's
# implementation into each file costs 3.5 s a file.
set(LEDA_FMT_FOLDER ${CMAKE_BINARY_DIR}/fmt_first)
file(MAKE_DIRECTORY ${LEDA_FMT_FOLDER})
file(CREATE_LINK ${FMT_INCLUDE_DIR}/fmt ${LEDA_FMT_FOLDER}/fmt SYMBOLIC)
find_library(FMT_LIBRARY fmt REQUIRED)
add_library(leda_fmt INTERFACE)
target_include_directories(leda_fmt SYSTEM BEFORE INTERFACE ${LEDA_FMT_FOLDER})
target_link_libraries(leda_fmt INTERFACE ${FMT_LIBRARY})

# LibTorch without find_package(Torch): the wheel's own configuration insists on a CUDA toolkit, which the CPU
# flavour does not need.
find_path(LEDA_TORCH_INCLUDE ATen/core/Tensor.h PATHS ${LEDA_TORCH_ROOT}/include NO_DEFAULT_PATH)
find_library(LEDA_TORCH_CPU torch_cpu PATHS ${LEDA_TORCH_ROOT}/lib NO_DEFAULT_PATH)
find_library(LEDA_TORCH_C10 c10 PATHS ${LEDA_TORCH_ROOT}/lib NO_DEFAULT_PATH)
if(NOT LEDA_TORCH_INCLUDE OR NOT LEDA_TORCH_CPU OR NOT LEDA_TORCH_C10)
  message(FATAL_ERROR "No LibTorch at ${LEDA_TORCH_ROOT}. Run launch/setup, or point LEDA_TORCH_ROOT at a LibTorch folder.")
endif()
set(LEDA_TORCH_LIB ${LEDA_TORCH_ROOT}/lib)
set(LEDA_CUDA_WHEELS ${LEDA_TORCH_ROOT}/../nvidia)
add_library(leda_torch INTERFACE)
target_include_directories(leda_torch SYSTEM INTERFACE
  ${LEDA_TORCH_INCLUDE} ${LEDA_TORCH_INCLUDE}/torch/csrc/api/include)
target_compile_definitions(leda_torch INTERFACE AT_PER_OPERATOR_HEADERS)
target_link_libraries(leda_torch INTERFACE ${LEDA_TORCH_CPU} ${LEDA_TORCH_C10})
target_link_options(leda_torch INTERFACE
  -Wl,-rpath,${LEDA_TORCH_LIB} -Wl,-rpath-link,${LEDA_CUDA_WHEELS}/cu13/lib)

# The GPU side. CUDA's and NCCL's own headers, from the wheels' folders only: a toolkit of the machine may be of another
# version. Where the headers are, NCCL code is compiled in every build; from the same objects a program is linked
# for GPUs or without them (src/CMakeLists.txt).
set(LEDA_CUDA_INCLUDE "${LEDA_CUDA_WHEELS}/cu13/include" CACHE PATH "Folder of cuda_runtime_api.h, CUDA 13.0")
set(LEDA_NCCL_ROOT "${LEDA_CUDA_WHEELS}/nccl" CACHE PATH "Folder with NCCL's include/ and lib/, version 2.28")
set(LEDA_HAS_NCCL ON)
foreach(HEADER ${LEDA_CUDA_INCLUDE}/cuda_runtime_api.h ${LEDA_CUDA_INCLUDE}/crt/host_defines.h
        ${LEDA_CUDA_INCLUDE}/cccl/nv/target ${LEDA_NCCL_ROOT}/include/nccl.h)
  if(NOT EXISTS ${HEADER})
    set(LEDA_HAS_NCCL OFF)
    set(LEDA_MISSING_HEADER ${HEADER})
  endif()
endforeach()
set(LEDA_HAS_NCCL ${LEDA_HAS_NCCL} CACHE INTERNAL "NCCL's and CUDA's headers were found")
if(LEDA_HAS_NCCL)
  find_library(LEDA_TORCH_CUDA torch_cuda PATHS ${LEDA_TORCH_LIB} NO_DEFAULT_PATH REQUIRED)
  find_library(LEDA_C10_CUDA c10_cuda PATHS ${LEDA_TORCH_LIB} NO_DEFAULT_PATH REQUIRED)
  add_library(leda_nccl_headers INTERFACE)
  target_include_directories(leda_nccl_headers SYSTEM INTERFACE
    ${LEDA_NCCL_ROOT}/include ${LEDA_CUDA_INCLUDE} ${LEDA_CUDA_INCLUDE}/cccl)
  add_library(leda_nccl INTERFACE)
  target_link_libraries(leda_nccl INTERFACE leda_nccl_headers
    ${LEDA_NCCL_ROOT}/lib/libnccl.so.2 ${LEDA_CUDA_INCLUDE}/../lib/libcudart.so.13)
  target_link_options(leda_nccl INTERFACE
    -Wl,-rpath,${LEDA_NCCL_ROOT}/lib -Wl,-rpath,${LEDA_CUDA_INCLUDE}/../lib)
  # Nothing names a symbol of LibTorch's CUDA part, which registers itself when loaded. Libraries that only it needs are
  # found at run time by its own paths.
  add_library(leda_torch_cuda INTERFACE)
  target_link_options(leda_torch_cuda INTERFACE
    -Wl,--no-as-needed ${LEDA_TORCH_CUDA} ${LEDA_C10_CUDA} -Wl,--as-needed -Wl,--allow-shlib-undefined)
  target_link_libraries(leda_torch_cuda INTERFACE ${LEDA_C10_CUDA})
elseif(LEDA_CUDA)
  message(FATAL_ERROR "LEDA_CUDA needs ${LEDA_MISSING_HEADER}. Run launch/setup --cuda, or name LEDA_CUDA_INCLUDE and LEDA_NCCL_ROOT.")
endif()
