#include "storage/safetensors.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::storage {
namespace {

namespace fs = std::filesystem;

std::string bytes_of(const at::Tensor& tensor) {
  const at::Tensor values = tensor.contiguous();
  return {static_cast<const char*>(values.const_data_ptr()), values.nbytes()};
}

std::string hex(const std::string& bytes) {
  std::string text;
  for (const char c : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

TensorArchive every_type() {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const at::Tensor values = at::tensor({1.5, -0.0, nan, 1e-310, 3e38, -7.25}, at::kDouble).reshape({2, 3});
  TensorArchive archive;
  archive.tensors = {{"zulu", values},
                     {"encoder.weight", values.to(at::kFloat).t()},  // strided
                     {"half", values.to(at::kHalf)},
                     {"bfloat", values.to(at::kBFloat16)},
                     {"long", at::tensor({std::int64_t{-1} << 62, std::int64_t{5}}, at::kLong)},
                     {"int", at::arange(-3, 3, at::kInt)},
                     {"short", at::arange(-3, 2, at::kShort)},
                     {"byte", at::arange(253, 256, at::kByte)},
                     {"bool", at::tensor({1, 0, 1}, at::kInt).to(at::kBool)},
                     {"scalar", at::tensor(2.5F, at::kFloat).reshape({})},
                     {"empty", at::zeros({0, 4}, at::kFloat)},
                     {"quote\" and \xC3\xA9", at::zeros({1}, at::kFloat).set_requires_grad(true)}};
  archive.metadata = {{"window", "-160 240"}, {"vocabulary", "abc"}};
  return archive;
}

void expect_same(const TensorArchive& found, const TensorArchive& expected) {
  EXPECT_EQ(found.metadata, expected.metadata);
  ASSERT_EQ(found.tensors.size(), expected.tensors.size());
  for (std::size_t i = 0; i < expected.tensors.size(); ++i) {
    const auto& [name, tensor] = expected.tensors[i];
    EXPECT_EQ(found.tensors[i].first, name);
    EXPECT_EQ(found.tensors[i].second.scalar_type(), tensor.scalar_type()) << name;
    EXPECT_EQ(found.tensors[i].second.sizes(), tensor.sizes()) << name;
    EXPECT_EQ(bytes_of(found.tensors[i].second), bytes_of(tensor)) << name;
  }
}

std::string file_of(const std::string& header, const std::string& values) {
  std::uint64_t length = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file + header + values;
}

// What load_safetensors says about a file of these bytes; "" where it accepts it.
std::string complaint(const std::string& bytes) {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "weights.safetensors";
  write_file_durably(path, bytes);
  const auto error = test::thrown_error([&] { load_safetensors(path); });
  if (!error) return "";
  EXPECT_EQ(error->exit_code(), base::ExitCode::data);
  EXPECT_NE(error->text().what.find("weights.safetensors"), std::string::npos);
  return error->what();
}

std::string saved_bytes(const TensorArchive& archive) {
  const test::TemporaryFolder folder;
  save_safetensors(folder.path() / "file", archive);
  return read_text_file(folder.path() / "file");
}

TEST(Safetensors, RoundTripKeepsEveryBitOfEveryType) {
  const test::TemporaryFolder folder;
  save_safetensors(folder.path() / "all.safetensors", every_type());
  expect_same(load_safetensors(folder.path() / "all.safetensors"), every_type());
}

TEST(Safetensors, EqualArchivesGiveEqualBytes) { EXPECT_EQ(saved_bytes(every_type()), saved_bytes(every_type())); }

TEST(Safetensors, HeaderIsPaddedAndInTheOrderOfTheArchive) {
  const std::string bytes = saved_bytes(every_type());
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ(length % 8, 0U);
  const auto header = nlohmann::ordered_json::parse(bytes.substr(8, length));
  std::vector<std::string> keys;
  for (const auto& item : header.items()) keys.push_back(item.key());
  ASSERT_EQ(keys.size(), every_type().tensors.size() + 1);
  EXPECT_EQ(keys[0], "__metadata__");
  for (std::size_t i = 1; i < keys.size(); ++i) EXPECT_EQ(keys[i], every_type().tensors[i - 1].first);
}

TEST(Safetensors, ArchiveWithoutTensorsIsAFile) {
  expect_same(load_safetensors([] {
                static const test::TemporaryFolder folder;
                save_safetensors(folder.path() / "none", {});
                return folder.path() / "none";
              }()),
              {});
}

TEST(Safetensors, PublishedPackageReadsWhatIsWritten) {
  const test::TemporaryFolder folder;
  const fs::path file = folder.path() / "all.safetensors";
  const fs::path summary = folder.path() / "summary.txt";
  const TensorArchive archive = every_type();
  save_safetensors(file, archive);
  const auto result =
      test::run_command(fmt::format("{} {}/tests/storage/safetensors_reference.py read {} {}", LEDA_TEST_PYTHON,
                                    LEDA_SOURCE_FOLDER, file.string(), summary.string()));
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const std::string text = "\n" + read_text_file(summary);
  const std::map<std::string, std::string> types{
      {"zulu", "F64"}, {"encoder.weight", "F32"}, {"half", "F16"}, {"bfloat", "BF16"}, {"long", "I64"},
      {"int", "I32"},  {"short", "I16"},          {"byte", "U8"},  {"bool", "BOOL"}};
  EXPECT_NE(text.find("\nmetadata window=-160 240\n"), std::string::npos);
  for (const auto& [name, tensor] : archive.tensors) {
    const std::string type = types.contains(name) ? types.at(name) : "F32";
    const std::string line =
        fmt::format("\n{} {} [{}] {}\n", name, type, fmt::join(tensor.sizes(), "x"), hex(bytes_of(tensor)));
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

TEST(Safetensors, ReadsWhatThePublishedPackageWrites) {
  const test::TemporaryFolder folder;
  const fs::path file = folder.path() / "python.safetensors";
  const auto result = test::run_command(fmt::format("{} {}/tests/storage/safetensors_reference.py write {}",
                                                    LEDA_TEST_PYTHON, LEDA_SOURCE_FOLDER, file.string()));
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const TensorArchive archive = load_safetensors(file);
  const std::map<std::string, at::Tensor> found(archive.tensors.begin(), archive.tensors.end());
  ASSERT_EQ(found.size(), 10U);
  EXPECT_EQ(archive.metadata.at("window"), "-160 240");
  const double infinity = std::numeric_limits<double>::infinity();
  const auto expect = [&found](const std::string& name, const at::Tensor& value) {
    EXPECT_EQ(found.at(name).scalar_type(), value.scalar_type()) << name;
    EXPECT_TRUE(at::equal(found.at(name), value)) << name;
  };
  expect("double", at::tensor({1.5, -2.0, infinity, 1e300}, at::kDouble).reshape({2, 2}));
  expect("float", at::arange(6, at::kFloat).reshape({3, 2}));
  expect("half", at::tensor({0.5, -1.0}, at::kDouble).to(at::kHalf));
  expect("long", at::tensor({-(std::int64_t{1} << 62), std::int64_t{7}}, at::kLong));
  expect("int", at::tensor({-5}, at::kInt).reshape({1, 1}));
  expect("short", at::tensor({-32768, 32767}, at::kInt).to(at::kShort));
  expect("byte", at::tensor({0, 255, 3}, at::kInt).to(at::kByte));
  expect("bool", at::tensor({1, 0, 1}, at::kInt).to(at::kBool));
  expect("scalar", at::tensor(2.5F, at::kFloat).reshape({}));
  expect("empty", at::zeros({0, 4}, at::kFloat));
}

TEST(Safetensors, EachFaultOfAHeaderIsNamed) {
  const std::string good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  ASSERT_EQ(complaint(file_of(good, std::string(8, '\0'))), "");
  struct Fault {
    std::string header;
    std::size_t value_bytes;
    std::string named;
  };
  const std::vector<Fault> faults{
      {good, 7, "7 bytes of values"},
      {good, 9, "9 bytes of values"},
      {"[1, 2]", 0, "not a JSON object"},
      {R"({"a":)", 0, "header"},
      {"{\"\xFF\":1}", 0, "header"},
      {R"({"a":5})", 0, "'dtype'"},
      {R"({"a":{"shape":[2],"data_offsets":[0,8]}})", 8, "'dtype'"},
      {R"({"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})", 8, "'F31' is not supported"},
      {R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", 8, "'shape'"},
      {R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8, "-2 is not a count"},
      {R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", 8, "2.0 is not a count"},
      {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8, "do not fit"},
      {R"({"a":{"dtype":"F32","shape":[4611686018427387906],"data_offsets":[0,8]}})", 8, "do not fit"},
      {R"({"a":{"dtype":"F32","shape":[0,4611686018427387906],"data_offsets":[0,0]}})", 0, "do not fit"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}})", 8, "two numbers"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "do not fit"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12, "expected 0"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
       8, "tensor 'b', data_offsets: begins at byte 4 of the values, expected 8"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
       2, "'a' stands there twice"},
      {R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1, "'dtype' stands there twice"},
      {R"({"__metadata__":{"key":5}})", 0, "'key' is not a text"},
      {R"({"__metadata__":"text"})", 0, "__metadata__"}};
  for (const Fault& fault : faults) {
    const std::string said = complaint(file_of(fault.header, std::string(fault.value_bytes, '\0')));
    EXPECT_NE(said.find(fault.named), std::string::npos) << fault.header << "\n" << said;
  }
}

TEST(Safetensors, LengthsAndValuesThatCannotBeAreNamed) {
  EXPECT_NE(complaint("").find("0 bytes"), std::string::npos);
  EXPECT_NE(complaint("1234567").find("7 bytes"), std::string::npos);
  EXPECT_NE(complaint(std::string(8, '\xFF') + "{}").find("header length"), std::string::npos);
  EXPECT_NE(complaint(file_of(R"({"a":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}})", "\x02")).find("neither 0"),
            std::string::npos);
}

TEST(Safetensors, MissingFileIsADataError) {
  EXPECT_THROW(load_safetensors("/nowhere/weights.safetensors"), base::Error);
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string bytes = saved_bytes(every_type());
  for (std::size_t length = 0; length < bytes.size(); length += 3) {
    EXPECT_NE(complaint(bytes.substr(0, length)), "") << length;
  }
}

// Many flips give another valid header, a changed name say: checksums are the checkpoint's affair. None may do worse.
TEST(Safetensors, NoFlippedHeaderByteDoesWorseThanADataError) {
  const std::string bytes = saved_bytes(every_type());
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  int num_refused = 0;
  for (std::size_t i = 0; i < 8 + length; ++i) {
    std::string flipped = bytes;
    flipped[i] = static_cast<char>(flipped[i] ^ (1 << (i % 7)));
    if (!complaint(flipped).empty()) ++num_refused;
  }
  EXPECT_GT(num_refused, static_cast<int>(length) / 2);
}

TEST(Safetensors, RepeatedNameAndUnknownTypeAreOurMistakes) {
  const test::TemporaryFolder folder;
  const at::Tensor one = at::zeros({1});
  const auto exit_code_of = [&](const TensorArchive& archive) {
    return test::exit_code_of([&] { save_safetensors(folder.path() / "file", archive); });
  };
  EXPECT_EQ(exit_code_of({.tensors = {{"a", one}, {"a", one}}, .metadata = {}}), base::ExitCode::internal);
  EXPECT_EQ(exit_code_of({.tensors = {{"__metadata__", one}}, .metadata = {}}), base::ExitCode::internal);
  EXPECT_EQ(exit_code_of({.tensors = {{"a", one.to(at::kComplexFloat)}}, .metadata = {}}), base::ExitCode::internal);
  EXPECT_EQ(exit_code_of({.tensors = {{"a", one}}, .metadata = {}}), base::ExitCode::finished);
}

TEST(Safetensors, FileSizeLimitIsAStorageErrorThatNamesTheFile) {
  const test::TemporaryFolder folder;
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{4096, 4096};
    setrlimit(RLIMIT_FSIZE, &limit);
    const auto error = test::thrown_error([&] {
      save_safetensors(folder.path() / "big.safetensors",
                       {.tensors = {{"a", at::empty({4096}, at::kFloat)}}, .metadata = {}});
    });
    if (!error) _exit(1);
    const bool is_right = error->exit_code() == base::ExitCode::storage &&
                          std::string(error->what()).find("big.safetensors") != std::string::npos;
    _exit(is_right ? 0 : 2);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace leda::storage
