#include "pictures/png_file.hpp"

#include <png.h>

#include <array>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <system_error>

#include "base/error.hpp"

namespace leda::pictures {
namespace {

struct WriteHandle {
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  WriteHandle() = default;
  WriteHandle(const WriteHandle&) = delete;
  WriteHandle& operator=(const WriteHandle&) = delete;
  ~WriteHandle() { png_destroy_write_struct(&png, &info); }
};

void append_bytes(png_structp png, png_bytep bytes, png_size_t count) {
  static_cast<std::string*>(png_get_io_ptr(png))->append(reinterpret_cast<const char*>(bytes), count);
}

void nothing_to_flush(png_structp) {}

// libpng reports errors by longjmp: no object with a destructor lives between setjmp and its end.
bool write_rows(WriteHandle& handle, std::string& bytes, const std::uint8_t* pixels, png_uint_32 width,
                png_uint_32 height, int num_channels) {
  if (setjmp(png_jmpbuf(handle.png))) return false;
  png_set_write_fn(handle.png, &bytes, append_bytes, nothing_to_flush);
  png_set_IHDR(handle.png, handle.info, width, height, 8, num_channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY,
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(handle.png, handle.info);
  const std::size_t row_bytes = static_cast<std::size_t>(width) * static_cast<std::size_t>(num_channels);
  for (png_uint_32 row = 0; row < height; ++row) png_write_row(handle.png, pixels + row * row_bytes);
  png_write_end(handle.png, handle.info);
  return true;
}

[[noreturn]] void throw_unwritable(const std::filesystem::path& path, const std::string& reason) {
  throw base::Error(base::ExitCode::storage,
                    {.what = "cannot write the picture " + path.string(),
                     .value = reason,
                     .why = "",
                     .remedy = "check the folder's permissions and the space left on its disk"});
}

}  // namespace

std::string encode_png(const at::Tensor& pixels) {
  const at::Tensor packed = pixels.contiguous();
  const int num_channels = packed.dim() == 3 ? static_cast<int>(packed.size(2)) : 1;
  WriteHandle handle;
  std::string bytes;
  if (!handle.info ||
      !write_rows(handle, bytes, packed.const_data_ptr<std::uint8_t>(), static_cast<png_uint_32>(packed.size(1)),
                  static_cast<png_uint_32>(packed.size(0)), num_channels)) {
    throw std::runtime_error("libpng could not encode a picture in memory");
  }
  return bytes;
}

void write_png(const std::filesystem::path& path, const at::Tensor& pixels) {
  const std::string bytes = encode_png(pixels);
  std::error_code error;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
  if (error) throw_unwritable(path, error.message());
  const std::filesystem::path temporary = path.string() + ".tmp";
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) {
    std::filesystem::remove(temporary, error);
    throw_unwritable(path, "the file could not be written in full");
  }
  std::filesystem::rename(temporary, path, error);
  if (error) throw_unwritable(path, error.message());
}

}  // namespace leda::pictures
