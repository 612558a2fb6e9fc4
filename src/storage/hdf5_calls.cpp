#include "storage/hdf5_calls.hpp"

#include <fmt/format.h>

#include "base/error.hpp"

namespace leda::storage {
namespace {

// The innermost entry of the stack says why; the outer ones repeat that it failed.
herr_t keep_innermost(unsigned, const H5E_error2_t* entry, void* reason) {
  if (entry->desc != nullptr) *static_cast<std::string*>(reason) = entry->desc;
  return 0;
}

std::string innermost_reason() {
  std::string reason;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, keep_innermost, &reason);
  return reason;
}

}  // namespace

SilentHdf5::SilentHdf5() {
  H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

SilentHdf5::~SilentHdf5() { H5Eset_auto2(H5E_DEFAULT, function_, data_); }

void throw_hdf5_error(base::ExitCode exit_code, const std::string& file, const std::string& object,
                      const std::string& failure) {
  const std::string subject = object.empty() ? file : fmt::format("{}, object '{}'", file, object);
  const bool writing = exit_code == base::ExitCode::storage;
  throw base::Error(exit_code, {.what = fmt::format("{}: {}", subject, failure),
                                .value = innermost_reason(),
                                .why = "",
                                .remedy = writing ? "check free space and permissions of the folder"
                                                  : "check that the file is complete and of the kind expected here; "
                                                    "make it anew or copy it again"});
}

Hdf5Handle hdf5_type_of(at::ScalarType type, const std::string& file, const std::string& object) {
  switch (type) {
    case at::kByte:
      return Hdf5Handle(H5Tcopy(H5T_STD_U8LE));
    case at::kChar:
      return Hdf5Handle(H5Tcopy(H5T_STD_I8LE));
    case at::kShort:
      return Hdf5Handle(H5Tcopy(H5T_STD_I16LE));
    case at::kInt:
      return Hdf5Handle(H5Tcopy(H5T_STD_I32LE));
    case at::kLong:
      return Hdf5Handle(H5Tcopy(H5T_STD_I64LE));
    case at::kUInt64:
      return Hdf5Handle(H5Tcopy(H5T_STD_U64LE));
    case at::kFloat:
      return Hdf5Handle(H5Tcopy(H5T_IEEE_F32LE));
    case at::kDouble:
      return Hdf5Handle(H5Tcopy(H5T_IEEE_F64LE));
    case at::kHalf: {
      Hdf5Handle half(H5Tcopy(H5T_IEEE_F32LE));
      H5Tset_fields(half.id(), 15, 10, 5, 0, 10);
      H5Tset_size(half.id(), 2);
      H5Tset_ebias(half.id(), 15);
      return half;
    }
    default:
      throw base::Error(base::ExitCode::internal,
                        {.what = fmt::format("{}, object '{}': no HDF5 type", file, object),
                         .value = at::toString(type),
                         .why = "",
                         .remedy = "report this: a program asked for a type it cannot store"});
  }
}

}  // namespace leda::storage
