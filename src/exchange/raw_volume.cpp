#include "exchange/raw_volume.hpp"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <fstream>

#include "base/error.hpp"

namespace leda::exchange {
namespace {

[[noreturn]] void refuse_volume(const std::filesystem::path& path, const std::string& failure,
                                const std::string& value) {
  throw base::Error(base::ExitCode::data,
                    {.what = fmt::format("raw volume {}: {}", path.string(), failure),
                     .value = value,
                     .why = "",
                     .remedy = "the file holds little-endian int16 HU, slice by slice, row by row, and nothing else; "
                               "check shape and spacing"});
}

}  // namespace

Volume read_raw_volume(const std::filesystem::path& path, const std::array<std::int64_t, 3>& shape,
                       const std::array<double, 3>& spacing_mm) {
  for (const std::int64_t side : shape) {
    if (side < 1)
      refuse_volume(path, "a side of the shape is not positive", fmt::format("[{}]", fmt::join(shape, ", ")));
  }
  for (const double spacing : spacing_mm) {
    if (!(spacing > 0.0)) refuse_volume(path, "a distance is not positive", fmt::format("{} mm", spacing));
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) refuse_volume(path, "cannot be opened", "");
  const std::uintmax_t found = std::filesystem::file_size(path);
  const auto expected = static_cast<std::uintmax_t>(shape[0]) * static_cast<std::uintmax_t>(shape[1]) *
                        static_cast<std::uintmax_t>(shape[2]) * sizeof(std::int16_t);
  if (found != expected) {
    refuse_volume(path, "has another size than its shape",
                  fmt::format("{} bytes, {} expected for [{}]", found, expected, fmt::join(shape, ", ")));
  }
  Volume volume{at::empty({shape[0], shape[1], shape[2]}, at::TensorOptions().dtype(at::kShort)), spacing_mm};
  if (!file.read(static_cast<char*>(volume.hu.mutable_data_ptr()), static_cast<std::streamsize>(expected))) {
    refuse_volume(path, "cannot be read to its end", "");
  }
  return volume;
}

}  // namespace leda::exchange
