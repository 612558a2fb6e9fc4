#include "storage/hdf5_file.hpp"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.hpp"
#include "storage/hdf5_calls.hpp"

namespace leda::storage {
namespace {

using base::ExitCode;

Hdf5Handle open_dataset(const Hdf5File& file, const std::string& dataset) {
  Hdf5Handle handle(H5Dopen2(file.id(), dataset.c_str(), H5P_DEFAULT));
  if (!handle.is_open()) throw_hdf5_error(ExitCode::data, file.name(), dataset, "no such dataset");
  return handle;
}

std::vector<std::int64_t> shape_of_handle(const Hdf5File& file, const std::string& name, const Hdf5Handle& dataset) {
  const Hdf5Handle space(H5Dget_space(dataset.id()));
  std::array<hsize_t, H5S_MAX_RANK> extents{};
  const int rank = H5Sget_simple_extent_dims(space.id(), extents.data(), nullptr);
  if (rank < 0) throw_hdf5_error(ExitCode::data, file.name(), name, "the shape cannot be read");
  return {extents.begin(), extents.begin() + rank};
}

at::ScalarType scalar_type_of(const Hdf5File& file, const std::string& name, const Hdf5Handle& dataset) {
  const Hdf5Handle type(H5Dget_type(dataset.id()));
  const std::size_t size = H5Tget_size(type.id());
  if (H5Tget_class(type.id()) == H5T_FLOAT) {
    if (size == 2) return at::kHalf;
    if (size == 4) return at::kFloat;
    if (size == 8) return at::kDouble;
  }
  if (H5Tget_class(type.id()) == H5T_INTEGER) {
    const bool is_signed = H5Tget_sign(type.id()) == H5T_SGN_2;
    if (size == 1) return is_signed ? at::kChar : at::kByte;
    if (size == 2 && is_signed) return at::kShort;
    if (size == 4 && is_signed) return at::kInt;
    if (size == 8) return is_signed ? at::kLong : at::kUInt64;
  }
  throw_hdf5_error(ExitCode::data, file.name(), name, "the type of its elements is not one this program reads");
}

// Dataset creation: no times, so that equal content gives equal bytes.
Hdf5Handle timeless_creation() {
  Hdf5Handle properties(H5Pcreate(H5P_DATASET_CREATE));
  H5Pset_obj_track_times(properties.id(), false);
  return properties;
}

void write_dataset(const Hdf5File& file, const std::string& name, const Hdf5Handle& type,
                   const std::vector<std::int64_t>& shape, const void* values) {
  const std::vector<hsize_t> extents(shape.begin(), shape.end());
  const Hdf5Handle space(H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr));
  const Hdf5Handle creation = timeless_creation();
  const Hdf5Handle dataset(
      H5Dcreate2(file.id(), name.c_str(), type.id(), space.id(), H5P_DEFAULT, creation.id(), H5P_DEFAULT));
  if (!dataset.is_open()) throw_hdf5_error(ExitCode::storage, file.name(), name, "the dataset cannot be created");
  if (H5Dwrite(dataset.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) {
    throw_hdf5_error(ExitCode::storage, file.name(), name, "the dataset cannot be written");
  }
}

// Where a text of fixed length ends: at its first zero, or with the field.
std::string text_of_field(const char* field, std::size_t length) {
  return std::string(field, std::find(field, field + length, '\0'));
}

std::vector<std::string> read_variable_texts(const Hdf5File& file, const std::string& name, const Hdf5Handle& dataset,
                                             const Hdf5Handle& type, std::size_t count) {
  std::vector<char*> pointers(count, nullptr);
  if (H5Dread(dataset.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, pointers.data()) < 0) {
    throw_hdf5_error(ExitCode::data, file.name(), name, "the texts cannot be read");
  }
  std::vector<std::string> texts;
  texts.reserve(count);
  for (const char* pointer : pointers) texts.emplace_back(pointer == nullptr ? "" : pointer);
  const Hdf5Handle space(H5Dget_space(dataset.id()));
  H5Dvlen_reclaim(type.id(), space.id(), H5P_DEFAULT, pointers.data());
  return texts;
}

Hdf5Handle fixed_text_type(std::size_t length) {
  Hdf5Handle type(H5Tcopy(H5T_C_S1));
  H5Tset_size(type.id(), std::max<std::size_t>(length, 1));
  H5Tset_strpad(type.id(), H5T_STR_NULLPAD);
  H5Tset_cset(type.id(), H5T_CSET_UTF8);
  return type;
}

Hdf5Handle open_attribute(const Hdf5File& file, const std::string& name) {
  Hdf5Handle attribute(H5Aopen(file.id(), name.c_str(), H5P_DEFAULT));
  if (!attribute.is_open()) throw_hdf5_error(ExitCode::data, file.name(), name, "no such attribute");
  return attribute;
}

void read_scalar_attribute(const Hdf5File& file, const std::string& name, hid_t memory_type, void* value) {
  const SilentHdf5 silent;
  const Hdf5Handle attribute = open_attribute(file, name);
  const Hdf5Handle space(H5Aget_space(attribute.id()));
  if (H5Sget_simple_extent_npoints(space.id()) != 1 || H5Aread(attribute.id(), memory_type, value) < 0) {
    throw_hdf5_error(ExitCode::data, file.name(), name, "the attribute is not a single number");
  }
}

void write_scalar_attribute(const Hdf5File& file, const std::string& name, hid_t type, const void* value) {
  const SilentHdf5 silent;
  const Hdf5Handle space(H5Screate(H5S_SCALAR));
  const Hdf5Handle attribute(H5Acreate2(file.id(), name.c_str(), type, space.id(), H5P_DEFAULT, H5P_DEFAULT));
  if (!attribute.is_open() || H5Awrite(attribute.id(), type, value) < 0) {
    throw_hdf5_error(ExitCode::storage, file.name(), name, "the attribute cannot be written");
  }
}

}  // namespace

Hdf5File Hdf5File::open_read(const std::filesystem::path& path) {
  const SilentHdf5 silent;
  const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS));
  H5Pset_file_locking(access.id(), false, true);
  Hdf5Handle handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.id()));
  if (!handle.is_open()) throw_hdf5_error(ExitCode::data, path.string(), "", "cannot be opened as an HDF5 file");
  return {std::move(handle), path.string()};
}

Hdf5File Hdf5File::from_memory(std::span<const std::byte> bytes, const std::string& name_for_messages) {
  const SilentHdf5 silent;
  const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS));
  H5Pset_fapl_core(access.id(), 1 << 16, false);
  // The library copies the image; its parameter is not const for the sake of callbacks that are not used here.
  H5Pset_file_image(access.id(), const_cast<std::byte*>(bytes.data()), bytes.size());
  Hdf5Handle handle(H5Fopen(name_for_messages.c_str(), H5F_ACC_RDONLY, access.id()));
  if (!handle.is_open()) throw_hdf5_error(ExitCode::data, name_for_messages, "", "is no HDF5 file");
  return {std::move(handle), name_for_messages};
}

Hdf5File Hdf5File::create(const std::filesystem::path& path) {
  const SilentHdf5 silent;
  const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS));
  H5Pset_file_locking(access.id(), false, true);
  Hdf5Handle handle(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.id()));
  if (!handle.is_open()) throw_hdf5_error(ExitCode::storage, path.string(), "", "cannot be created");
  return {std::move(handle), path.string()};
}

void Hdf5File::close() {
  const SilentHdf5 silent;
  // Closing writes what is still in memory, but its result does not tell whether that worked: flush first.
  if (H5Fflush(handle_.id(), H5F_SCOPE_LOCAL) < 0) {
    throw_hdf5_error(ExitCode::storage, name_, "", "the end of the file cannot be written");
  }
  handle_.close();
}

bool Hdf5File::has(const std::string& object) const {
  const SilentHdf5 silent;
  return H5Lexists(handle_.id(), object.c_str(), H5P_DEFAULT) > 0;
}

std::vector<std::int64_t> Hdf5File::shape_of(const std::string& dataset) const {
  const SilentHdf5 silent;
  return shape_of_handle(*this, dataset, open_dataset(*this, dataset));
}

at::ScalarType Hdf5File::type_of(const std::string& dataset) const {
  const SilentHdf5 silent;
  return scalar_type_of(*this, dataset, open_dataset(*this, dataset));
}

at::Tensor Hdf5File::read_tensor(const std::string& dataset) const {
  const SilentHdf5 silent;
  const Hdf5Handle handle = open_dataset(*this, dataset);
  const at::ScalarType type = scalar_type_of(*this, dataset, handle);
  const at::Tensor values = at::empty(shape_of_handle(*this, dataset, handle), at::TensorOptions().dtype(type));
  const Hdf5Handle memory = hdf5_type_of(type, name_, dataset);
  if (values.numel() > 0 &&
      H5Dread(handle.id(), memory.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.mutable_data_ptr()) < 0) {
    throw_hdf5_error(ExitCode::data, name_, dataset, "the values cannot be read");
  }
  return values;
}

void Hdf5File::write_tensor(const std::string& dataset, const at::Tensor& values) {
  const SilentHdf5 silent;
  const at::Tensor stored = values.contiguous();
  write_dataset(*this, dataset, hdf5_type_of(stored.scalar_type(), name_, dataset), stored.sizes().vec(),
                stored.const_data_ptr());
}

std::vector<std::string> Hdf5File::read_texts(const std::string& dataset) const {
  const SilentHdf5 silent;
  const Hdf5Handle handle = open_dataset(*this, dataset);
  const std::vector<std::int64_t> shape = shape_of_handle(*this, dataset, handle);
  const Hdf5Handle type(H5Dget_type(handle.id()));
  if (shape.size() != 1 || H5Tget_class(type.id()) != H5T_STRING) {
    throw_hdf5_error(ExitCode::data, name_, dataset, "is not a one-dimensional array of texts");
  }
  const auto count = static_cast<std::size_t>(shape[0]);
  if (count == 0) return {};
  if (H5Tis_variable_str(type.id()) > 0) return read_variable_texts(*this, dataset, handle, type, count);
  const std::size_t length = H5Tget_size(type.id());
  std::vector<char> fields(count * length);
  if (H5Dread(handle.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, fields.data()) < 0) {
    throw_hdf5_error(ExitCode::data, name_, dataset, "the texts cannot be read");
  }
  std::vector<std::string> texts;
  texts.reserve(count);
  for (std::size_t i = 0; i < count; ++i) texts.push_back(text_of_field(fields.data() + i * length, length));
  return texts;
}

void Hdf5File::write_texts(const std::string& dataset, const std::vector<std::string>& texts) {
  const SilentHdf5 silent;
  std::size_t length = 1;
  for (const std::string& text : texts) length = std::max(length, text.size());
  std::vector<char> fields(texts.size() * length, '\0');
  for (std::size_t i = 0; i < texts.size(); ++i) std::copy(texts[i].begin(), texts[i].end(), &fields[i * length]);
  write_dataset(*this, dataset, fixed_text_type(length), {static_cast<std::int64_t>(texts.size())}, fields.data());
}

bool Hdf5File::has_attribute(const std::string& name) const {
  const SilentHdf5 silent;
  return H5Aexists(handle_.id(), name.c_str()) > 0;
}

std::string Hdf5File::read_text_attribute(const std::string& name) const {
  const SilentHdf5 silent;
  const Hdf5Handle attribute = open_attribute(*this, name);
  const Hdf5Handle type(H5Aget_type(attribute.id()));
  const Hdf5Handle space(H5Aget_space(attribute.id()));
  if (H5Tget_class(type.id()) != H5T_STRING || H5Sget_simple_extent_npoints(space.id()) != 1) {
    throw_hdf5_error(ExitCode::data, name_, name, "the attribute is not a text");
  }
  if (H5Tis_variable_str(type.id()) > 0) {
    char* text = nullptr;
    if (H5Aread(attribute.id(), type.id(), &text) < 0) {
      throw_hdf5_error(ExitCode::data, name_, name, "the attribute cannot be read");
    }
    const std::string value = text == nullptr ? "" : text;
    H5free_memory(text);
    return value;
  }
  std::vector<char> field(H5Tget_size(type.id()));
  if (H5Aread(attribute.id(), type.id(), field.data()) < 0) {
    throw_hdf5_error(ExitCode::data, name_, name, "the attribute cannot be read");
  }
  return text_of_field(field.data(), field.size());
}

std::int64_t Hdf5File::read_integer_attribute(const std::string& name) const {
  std::int64_t value = 0;
  read_scalar_attribute(*this, name, H5T_NATIVE_INT64, &value);
  return value;
}

double Hdf5File::read_number_attribute(const std::string& name) const {
  double value = 0.0;
  read_scalar_attribute(*this, name, H5T_NATIVE_DOUBLE, &value);
  return value;
}

void Hdf5File::write_text_attribute(const std::string& name, const std::string& value) {
  const Hdf5Handle type = fixed_text_type(value.size());
  std::string field = value;
  field.resize(std::max<std::size_t>(value.size(), 1), '\0');
  write_scalar_attribute(*this, name, type.id(), field.data());
}

void Hdf5File::write_integer_attribute(const std::string& name, std::int64_t value) {
  write_scalar_attribute(*this, name, H5T_STD_I64LE, &value);
}

void Hdf5File::write_number_attribute(const std::string& name, double value) {
  write_scalar_attribute(*this, name, H5T_IEEE_F64LE, &value);
}

}  // namespace leda::storage
