#include "storage/hdf5_file.hpp"

#include <ATen/ops/arange.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/error.hpp"
#include "storage/hdf5_chunk_index.hpp"
#include "storage/hdf5_chunk_writer.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::storage {
namespace {

using testing::HasSubstr;

const std::vector<at::ScalarType> kTypes{at::kByte, at::kChar, at::kShort, at::kInt,
                                         at::kLong, at::kHalf, at::kFloat, at::kDouble};
const std::vector<std::string> kTexts{"lung", "Gefäß", "", "long enough to set the width"};

void run_python(const std::string& arguments) {
  const test::CommandResult result = test::run_command(std::string(LEDA_TEST_PYTHON) + " " + LEDA_SOURCE_FOLDER +
                                                       "/tests/storage/hdf5_file_reference.py " + arguments);
  ASSERT_EQ(result.exit_code, 0) << result.output;
}

std::string bytes_of(const std::filesystem::path& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

void write_sample(const std::filesystem::path& path) {
  Hdf5File file = Hdf5File::create(path);
  for (const at::ScalarType type : kTypes) {
    file.write_tensor(at::toString(type), at::arange(6, at::kFloat).reshape({2, 3}).to(type));
  }
  file.write_texts("texts", kTexts);
  file.write_text_attribute("source", "a model");
  file.write_integer_attribute("version", 7);
  file.write_number_attribute("scale", 0.25);
  file.close();
}

std::string data_error(const std::function<void()>& action) {
  return test::refusal_message(base::ExitCode::data, action);
}

void expect_sample(const Hdf5File& file) {
  for (const at::ScalarType type : kTypes) {
    const at::Tensor values = file.read_tensor(at::toString(type));
    EXPECT_EQ(values.scalar_type(), type);
    EXPECT_TRUE(values.equal(at::arange(6, at::kFloat).reshape({2, 3}).to(type))) << at::toString(type);
  }
  EXPECT_EQ(file.read_texts("texts"), kTexts);
  EXPECT_EQ(file.read_text_attribute("source"), "a model");
  EXPECT_EQ(file.read_integer_attribute("version"), 7);
  EXPECT_EQ(file.read_number_attribute("scale"), 0.25);
}

TEST(Hdf5File, ReadsWhatItWroteFromDiskAndFromMemory) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "sample.h5";
  write_sample(path);
  expect_sample(Hdf5File::open_read(path));
  const std::string bytes = bytes_of(path);
  expect_sample(Hdf5File::from_memory(std::as_bytes(std::span(bytes)), "embedded"));
}

TEST(Hdf5File, H5pyReadsWhatItWrote) {
  const test::TemporaryFolder folder;
  write_sample(folder.path() / "sample.h5");
  run_python("read " + (folder.path() / "sample.h5").string());
}

TEST(Hdf5File, ReadsTextsAndNumbersThatH5pyWrote) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "python.h5";
  run_python("write " + path.string());
  const Hdf5File file = Hdf5File::open_read(path);
  EXPECT_EQ(file.read_texts("variable"), kTexts);
  EXPECT_EQ(file.read_texts("fixed"), (std::vector<std::string>{"ab", "c"}));
  EXPECT_EQ(file.read_text_attribute("variable_text"), "Gefäß");
  const at::Tensor large = file.read_tensor("uint64");
  EXPECT_EQ(large.const_data_ptr<std::uint64_t>()[0], 0xffffffffffffffffULL);
  const at::Tensor halves = file.read_tensor("float16").to(at::kFloat);
  EXPECT_EQ(halves.const_data_ptr<float>()[1], 0.333251953125F);
  EXPECT_EQ(file.read_tensor("big_endian").const_data_ptr<std::int16_t>()[0], 258);
}

TEST(Hdf5File, EqualContentGivesEqualBytesAtAnyTime) {
  const test::TemporaryFolder folder;
  write_sample(folder.path() / "a.h5");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // HDF5 would store whole seconds
  write_sample(folder.path() / "b.h5");
  EXPECT_EQ(bytes_of(folder.path() / "a.h5"), bytes_of(folder.path() / "b.h5"));
}

TEST(Hdf5File, ErrorsNameFileAndObjectAndPrintNothing) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "sample.h5";
  write_sample(path);
  testing::internal::CaptureStderr();
  const Hdf5File file = Hdf5File::open_read(path);
  for (const auto& action :
       std::vector<std::function<void()>>{[&] { file.read_tensor("nowhere"); }, [&] { file.read_texts("nowhere"); },
                                          [&] { file.read_integer_attribute("nowhere"); }}) {
    EXPECT_THAT(data_error(action), HasSubstr("sample.h5, object 'nowhere'"));
  }
  EXPECT_THAT(data_error([&] { file.read_texts("Float"); }), HasSubstr("'Float'"));
  EXPECT_THAT(data_error([&] { file.read_tensor("texts"); }), HasSubstr("'texts'"));
  test::refusal_of(base::ExitCode::storage, [&] { Hdf5File::create(folder.path() / "no" / "file.h5"); });
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Hdf5File, TruncatedFilesAreRefusedWherever) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "sample.h5";
  write_sample(path);
  const std::string bytes = bytes_of(path);
  for (const std::size_t length :
       {std::size_t{0}, std::size_t{7}, std::size_t{100}, bytes.size() / 2, bytes.size() - 1}) {
    std::ofstream(path, std::ios::binary) << bytes.substr(0, length);
    EXPECT_THAT(data_error([&] { Hdf5File::open_read(path); }), HasSubstr("sample.h5"));
    const std::string cut = bytes.substr(0, length);
    EXPECT_THAT(data_error([&] { Hdf5File::from_memory(std::as_bytes(std::span(cut)), "embedded words"); }),
                HasSubstr("embedded words"));
  }
}

TEST(Hdf5ChunkIndex, AgreesWithH5pyAndKeepsTheFilterMask) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "python.h5";
  run_python("write " + path.string());
  const Hdf5File file = Hdf5File::open_read(path);
  const ChunkIndex index = read_chunk_index(file, "chunked");
  const at::Tensor expected = file.read_tensor("chunked_index");  // address, size, mask by h5py
  ASSERT_EQ(index.chunks.size(), 3);
  EXPECT_EQ(index.filters, (std::vector<int>{kShuffleFilter, kDeflateFilter}));
  for (std::size_t i = 0; i < 3; ++i) {
    const auto* row = expected.const_data_ptr<std::int64_t>() + 3 * i;
    EXPECT_EQ(index.chunks[i].address, static_cast<std::uint64_t>(row[0]));
    EXPECT_EQ(index.chunks[i].size_bytes, static_cast<std::uint64_t>(row[1]));
    EXPECT_EQ(index.chunks[i].filter_mask, static_cast<std::uint32_t>(row[2]));
  }
  EXPECT_NE(index.chunks[1].filter_mask, 0U);
  EXPECT_THAT(data_error([&] { read_chunk_index(file, "uint64"); }), HasSubstr("'uint64'"));
}

TEST(Hdf5ChunkWriter, ChunksLieInTheFileAsTheyWereHandedOver) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "chunks.h5";
  const std::vector<std::string> stored{"first chunk", "second one", "3"};
  {
    Hdf5File file = Hdf5File::create(path);
    Hdf5ChunkWriter writer(file, "images", {at::kShort, 4, 5, 4});
    for (const std::string& chunk : stored) writer.append(std::as_bytes(std::span(chunk)));
    EXPECT_EQ(writer.num_slices(), 3);
  }
  const Hdf5File file = Hdf5File::open_read(path);
  EXPECT_EQ(file.shape_of("images"), (std::vector<std::int64_t>{3, 4, 5}));
  const std::string bytes = bytes_of(path);
  const ChunkIndex index = read_chunk_index(file, "images");
  for (std::size_t i = 0; i < stored.size(); ++i) {
    EXPECT_EQ(bytes.substr(index.chunks[i].address, index.chunks[i].size_bytes), stored[i]);
  }
}

}  // namespace
}  // namespace leda::storage
