#include "pictures/png_file.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/error.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::pictures {
namespace {

struct ReadBack {
  std::string mode;
  std::vector<std::int64_t> sizes;
  std::vector<int> values;
};

// Pillow checks the CRC of every chunk.
ReadBack read_back(const std::filesystem::path& path) {
  const test::CommandResult python = test::run_command(
      fmt::format("{} {}/tests/pictures/read_png.py {}", LEDA_TEST_PYTHON, LEDA_SOURCE_FOLDER, path.string()));
  EXPECT_EQ(python.exit_code, 0) << python.output;
  std::istringstream words(python.output);
  ReadBack read;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  words >> read.mode >> rows >> columns;
  read.sizes = {rows, columns};
  for (int value = 0; words >> value;) read.values.push_back(value);
  return read;
}

std::vector<int> values_of(const at::Tensor& pixels) {
  const at::Tensor flat = pixels.contiguous().view({-1});
  const auto* bytes = flat.const_data_ptr<std::uint8_t>();
  return {bytes, bytes + flat.numel()};
}

TEST(PngFile, GreyAndRgbPixelsAreReadBackByPillow) {
  const test::TemporaryFolder folder;
  const at::Tensor grey = at::arange(0, 6 * 40, at::TensorOptions(at::kLong)).to(at::kByte).view({6, 40});
  write_png(folder.path() / "made" / "grey.png", grey);
  const ReadBack read_grey = read_back(folder.path() / "made" / "grey.png");
  EXPECT_EQ(read_grey.mode, "L");
  EXPECT_EQ(read_grey.sizes, (std::vector<std::int64_t>{6, 40}));
  EXPECT_EQ(read_grey.values, values_of(grey));

  const at::Tensor rgb =
      at::arange(0, 3 * 5 * 7, at::TensorOptions(at::kLong)).to(at::kByte).view({3, 5, 7}).permute({1, 2, 0});
  write_png(folder.path() / "rgb.png", rgb);  // not contiguous
  const ReadBack read_rgb = read_back(folder.path() / "rgb.png");
  EXPECT_EQ(read_rgb.mode, "RGB");
  EXPECT_EQ(read_rgb.sizes, (std::vector<std::int64_t>{5, 7}));
  EXPECT_EQ(read_rgb.values, values_of(rgb));
}

TEST(PngFile, FileHoldsTheEncodedBytesAndNothingIsLeftBeside) {
  const test::TemporaryFolder folder;
  const at::Tensor pixels = at::zeros({4, 4}, at::kByte);
  write_png(folder.path() / "a.png", pixels);
  std::ifstream file(folder.path() / "a.png", std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  EXPECT_EQ(bytes, encode_png(pixels));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), std::filesystem::directory_iterator()),
            1);
}

TEST(PngFile, UnwritablePathIsAStorageError) {
  const test::TemporaryFolder folder;
  std::ofstream(folder.path() / "file") << "x";
  const base::Error error = test::refusal_of(base::ExitCode::storage, [&] {
    write_png(folder.path() / "file" / "a.png", at::zeros({4, 4}, at::kByte));
  });
  EXPECT_NE(error.text().what.find("a.png"), std::string::npos);
}

}  // namespace
}  // namespace leda::pictures
