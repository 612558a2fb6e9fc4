// A checkpoint small enough to be damaged at every place, for the tests of this folder.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "checkpoint/checkpoint_store.hpp"
#include "distributed/core/single_process_communicator.hpp"
#include "storage/durable_file.hpp"

namespace leda::test {

// Differs between steps in every file, and in nothing between two calls with one step.
inline checkpoint::CheckpointContent small_content(std::int64_t step) {
  const double value = static_cast<double>(step);
  checkpoint::CheckpointContent content;
  content.archives["networks"] = {.tensors = {{"weight", at::arange(6, at::kFloat).reshape({2, 3}).add(value)},
                                              {"none", at::arange(0, at::kDouble)}},
                                  .metadata = {{"vocabulary", "0123456789abcdef"}}};
  content.archives["optimisers"] = {.tensors = {{"moment", at::tensor({value, 1.0 / 3.0}, at::kDouble)}},
                                    .metadata = {}};
  content.state_json = fmt::format("{{\"epoch\": 1, \"samples\": {}}}\n", step * 8);
  return content;
}

inline void expect_content(const checkpoint::LoadedCheckpoint& found, std::int64_t step) {
  const checkpoint::CheckpointContent expected = small_content(step);
  EXPECT_EQ(found.step, step);
  EXPECT_EQ(found.content.state_json, expected.state_json);
  ASSERT_EQ(found.content.archives.size(), expected.archives.size());
  for (const auto& [stem, archive] : expected.archives) {
    const storage::TensorArchive& other = found.content.archives.at(stem);
    EXPECT_EQ(other.metadata, archive.metadata);
    ASSERT_EQ(other.tensors.size(), archive.tensors.size());
    for (std::size_t i = 0; i < archive.tensors.size(); ++i) {
      EXPECT_EQ(other.tensors[i].first, archive.tensors[i].first);
      EXPECT_EQ(other.tensors[i].second.scalar_type(), archive.tensors[i].second.scalar_type());
      EXPECT_TRUE(other.tensors[i].second.equal(archive.tensors[i].second)) << stem << " of step " << step;
    }
  }
}

// A console whose lines are kept.
class KeptConsole {
 public:
  explicit KeptConsole(int rank = 0) : console_(rank, stream_, stream_) {}
  ~KeptConsole() { std::fclose(stream_); }
  KeptConsole(const KeptConsole&) = delete;
  KeptConsole& operator=(const KeptConsole&) = delete;

  logging::Console& console() { return console_; }
  std::string text() {
    std::fflush(stream_);
    std::string text;
    std::rewind(stream_);
    for (int c = 0; (c = std::fgetc(stream_)) != EOF;) text += static_cast<char>(c);
    return text;
  }

 private:
  std::FILE* stream_ = std::tmpfile();
  logging::Console console_;
};

// One rank with a store in `folder`.
struct LoneStore {
  explicit LoneStore(const std::filesystem::path& folder, int keep_last = 3, const std::string& identity = "net-1")
      : store(folder, {.keep_last = keep_last}, identity, communicator, kept.console()) {}

  KeptConsole kept;
  distributed::SingleProcessCommunicator communicator;
  checkpoint::CheckpointStore store;
};

inline std::filesystem::path step_path(const std::filesystem::path& folder, std::int64_t step) {
  return folder / fmt::format("step_{:08}", step);
}

}  // namespace leda::test
