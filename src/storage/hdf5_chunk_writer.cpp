#include "storage/hdf5_chunk_writer.hpp"

#include <array>
#include <utility>

#include "storage/hdf5_calls.hpp"

namespace leda::storage {

Hdf5ChunkWriter::Hdf5ChunkWriter(Hdf5File& file, std::string dataset, const ChunkLayout& layout)
    : file_(&file), dataset_(std::move(dataset)), rows_(layout.rows), columns_(layout.columns) {
  const SilentHdf5 silent;
  const auto height = static_cast<hsize_t>(rows_);
  const auto width = static_cast<hsize_t>(columns_);
  const std::array<hsize_t, 3> extents{0, height, width};
  const std::array<hsize_t, 3> limits{H5S_UNLIMITED, height, width};
  const std::array<hsize_t, 3> chunk{1, height, width};
  const Hdf5Handle space(H5Screate_simple(3, extents.data(), limits.data()));
  const Hdf5Handle creation(H5Pcreate(H5P_DATASET_CREATE));
  H5Pset_obj_track_times(creation.id(), false);
  H5Pset_chunk(creation.id(), 3, chunk.data());
  H5Pset_shuffle(creation.id());
  H5Pset_deflate(creation.id(), static_cast<unsigned>(layout.deflate_level));
  const Hdf5Handle element = hdf5_type_of(layout.type, file.name(), dataset_);
  handle_ = Hdf5Handle(
      H5Dcreate2(file.id(), dataset_.c_str(), element.id(), space.id(), H5P_DEFAULT, creation.id(), H5P_DEFAULT));
  if (!handle_.is_open()) {
    throw_hdf5_error(base::ExitCode::storage, file.name(), dataset_, "the dataset cannot be created");
  }
}

void Hdf5ChunkWriter::append(std::span<const std::byte> stored_chunk) {
  const SilentHdf5 silent;
  const std::array<hsize_t, 3> extents{static_cast<hsize_t>(num_slices_) + 1, static_cast<hsize_t>(rows_),
                                       static_cast<hsize_t>(columns_)};
  const std::array<hsize_t, 3> offset{static_cast<hsize_t>(num_slices_), 0, 0};
  if (H5Dset_extent(handle_.id(), extents.data()) < 0 ||
      H5Dwrite_chunk(handle_.id(), H5P_DEFAULT, 0, offset.data(), stored_chunk.size(), stored_chunk.data()) < 0) {
    throw_hdf5_error(base::ExitCode::storage, file_->name(), dataset_, "a slice cannot be written");
  }
  ++num_slices_;
}

}  // namespace leda::storage
