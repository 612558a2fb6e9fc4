# NCCL code without a GPU: our own objects against a CUDA runtime and an NCCL of the tests (fake_gpu/), whose symbols
# stay hidden, so that LibTorch keeps its own; and against the real ones (gpu/), for their errors, and for GPUs where
# there are some.
if(LEDA_HAS_NCCL)
  file(GLOB FAKE_GPU_SOURCES CONFIGURE_DEPENDS distributed/fake_gpu/*.cpp)
  add_library(leda_fake_gpu STATIC ${FAKE_GPU_SOURCES})
  set_target_properties(leda_fake_gpu PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  target_link_libraries(leda_fake_gpu PUBLIC leda_distributed_nccl MPI::MPI_CXX)
  target_include_directories(leda_fake_gpu PUBLIC ${CMAKE_SOURCE_DIR})
  add_library(leda_real_nccl INTERFACE)
  target_link_libraries(leda_real_nccl INTERFACE leda_distributed_nccl leda_nccl)

  # add_nccl_program(NAME GPU_LIBRARY sources...)
  function(add_nccl_program NAME GPU_LIBRARY)
    add_executable(${NAME} ${ARGN})
    set_target_properties(${NAME} PROPERTIES LEDA_GPU_LIBRARY ${GPU_LIBRARY})
    target_link_libraries(${NAME} PRIVATE leda_distributed_nccl ${GPU_LIBRARY} leda_test_support)
    target_link_options(${NAME} PRIVATE -Wl,--exclude-libs,libleda_fake_gpu.a)
    target_precompile_headers(${NAME} REUSE_FROM leda_test_precompiled)
  endfunction()
  # add_nccl_test(NAME TARGET NUM_RANKS FILTER labels...)
  function(add_nccl_test NAME TARGET NUM_RANKS FILTER)
    set_when(${NUM_RANKS} 1 2 3 4 5)
    add_test(NAME ${NAME}
      COMMAND ${MPIEXEC_EXECUTABLE} -np ${NUM_RANKS} $<TARGET_FILE:${TARGET}> --gtest_filter=${FILTER}:-${LARGE})
    set_tests_properties(${NAME} PROPERTIES TIMEOUT ${LEDA_TEST_TIMEOUT} LABELS "distributed;nccl;ranks;${ARGN}" PROCESSORS 2
      ENVIRONMENT "${LEDA_TEST_ENVIRONMENT};GTEST_OUTPUT=xml:${LEDA_TEST_RESULTS}/${NAME}.xml")
  endfunction()

  file(GLOB NCCL_TEST_SOURCES CONFIGURE_DEPENDS distributed/nccl/*_test.cpp)
  # The same objects as in distributed_test, on other communicators.
  set(COMMUNICATOR_TESTS $<FILTER:$<TARGET_OBJECTS:distributed_test>,INCLUDE,/communicator_test[.]cpp>)
  set(SYNCHRONIZER_TESTS
    $<FILTER:$<TARGET_OBJECTS:distributed_test>,INCLUDE,/(gradient_synchronizer|differentiable_sum)_test[.]cpp>)
  add_nccl_program(nccl_test leda_fake_gpu ${COMMUNICATOR_TESTS} ${SYNCHRONIZER_TESTS}
    distributed/nccl/fake_backends.cpp distributed/nccl/kernel_communicator.cpp ${NCCL_TEST_SOURCES})
  foreach(NUM_RANKS 1 2 3 4 5)
    add_nccl_test(nccl_${NUM_RANKS}_ranks nccl_test ${NUM_RANKS} "Mpi*:Nccl*:FakeGpu*" mpi)
  endforeach()

  add_nccl_program(nccl_fault_job leda_fake_gpu distributed/nccl/fault_job.cpp)
  target_link_libraries(nccl_fault_job PRIVATE leda_programs)
  add_test(NAME nccl_faults COMMAND ${LEDA_TEST_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/distributed/nccl/nccl_faults_test.py)
  set_tests_properties(nccl_faults PROPERTIES TIMEOUT ${LEDA_TEST_TIMEOUT} LABELS "distributed;nccl;mpi" RESOURCE_LOCK bounds_an_end
    ENVIRONMENT "${LEDA_TEST_ENVIRONMENT};LEDA_BINARY_FOLDER=${CMAKE_BINARY_DIR}")

  add_test(NAME nccl_mutants
    COMMAND ${LEDA_TEST_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/mutants/nccl_mutants_test.py ${CMAKE_BINARY_DIR})
  set_tests_properties(nccl_mutants PROPERTIES TIMEOUT ${LEDA_TEST_TIMEOUT} LABELS "distributed;nccl;mpi"
    ENVIRONMENT "${LEDA_TEST_ENVIRONMENT}")

  # For the ordinary build: preset cuda has no programs without GPUs to compare with, and a sanitizer links otherwise.
  if(NOT LEDA_CUDA AND NOT LEDA_SANITIZE)
    add_test(NAME cuda_link COMMAND ${LEDA_TEST_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/distributed/gpu/cuda_link_test.py)
    set_tests_properties(cuda_link PROPERTIES TIMEOUT ${LEDA_TEST_TIMEOUT} LABELS "distributed;nccl"
      ENVIRONMENT "LEDA_BINARY_FOLDER=${CMAKE_BINARY_DIR}")
  endif()

  add_nccl_program(real_nccl_test leda_real_nccl ${COMMUNICATOR_TESTS} distributed/gpu/device_backends.cpp
    distributed/gpu/real_nccl_test.cpp)
  add_nccl_test(real_nccl_without_gpu real_nccl_test 2 "RealNccl*" mpi gpu)
  foreach(NUM_RANKS 1 2 4)
    add_nccl_test(nccl_on_gpus_${NUM_RANKS}_ranks real_nccl_test ${NUM_RANKS} "Mpi*" mpi gpu)
  endforeach()
endif()
