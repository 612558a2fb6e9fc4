#include "checkpoint/archive_files.hpp"

#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

namespace leda::checkpoint {
namespace {

// Archives "a" of float32 tensors with these numbers of values, and "b" of one value.
CheckpointContent content_of(const std::vector<std::int64_t>& lengths) {
  CheckpointContent content;
  content.archives["a"].metadata = {{"key", "value"}};
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    content.archives["a"].tensors.emplace_back(fmt::format("t{}", i), at::zeros({lengths[i]}, at::kFloat));
  }
  content.archives["b"].tensors.emplace_back("t", at::zeros({1}, at::kFloat));
  return content;
}

std::vector<std::string> names_of(const std::vector<ArchiveFile>& files) {
  std::vector<std::string> names;
  for (const ArchiveFile& file : files) names.push_back(file.name);
  return names;
}

TEST(ArchiveFiles, WhatFitsIsOneFileUnderThePlainName) {
  const auto files = plan_files(content_of({10, 10}), 80);
  EXPECT_EQ(names_of(files), (std::vector<std::string>{"a.safetensors", "b.safetensors"}));
  EXPECT_EQ(files[0].value_bytes, 80U);
}

TEST(ArchiveFiles, WhatDoesNotIsCutBetweenTensorsInTheirOrder) {
  const auto files = plan_files(content_of({10, 10, 30, 0, 5, 5}), 80);
  EXPECT_EQ(names_of(files), (std::vector<std::string>{"a-00001-of-00003.safetensors", "a-00002-of-00003.safetensors",
                                                       "a-00003-of-00003.safetensors", "b.safetensors"}));
  const std::vector<std::size_t> first{0, 2, 3};
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(files[i].first_tensor, first[i]);
  EXPECT_EQ(files[1].value_bytes, 120U);  // one tensor larger than the limit
  const storage::TensorArchive part = part_of(content_of({10, 10, 30, 0, 5, 5}), files[2]);
  ASSERT_EQ(part.tensors.size(), 3U);
  EXPECT_EQ(part.tensors[0].first, "t3");
  EXPECT_EQ(part.metadata.at("key"), "value");
}

TEST(ArchiveFiles, AnArchiveWithoutTensorsIsAFile) {
  EXPECT_EQ(names_of(plan_files(content_of({}), 80)), (std::vector<std::string>{"a.safetensors", "b.safetensors"}));
}

TEST(ArchiveFiles, RankZeroWritesAllUntilAnArchiveIsSplit) {
  EXPECT_EQ(deal_files(plan_files(content_of({10, 10}), 80), {0, 1}), (std::vector<int>{0, 0}));
  EXPECT_EQ(deal_files(plan_files(content_of({10, 10, 10}), 40), {0, 2, 1}), (std::vector<int>{0, 2, 1, 0}));
  EXPECT_EQ(deal_files(plan_files(content_of({10, 10, 10}), 40), {0}), (std::vector<int>{0, 0, 0, 0}));
}

TEST(ArchiveFiles, OneRankOfEachHostWritesBeforeASecondOneDoes) {
  EXPECT_EQ(writing_order({0, 1, 0, 1, 2}), (std::vector<int>{0, 2, 1, 3, 4}));
}

TEST(ArchiveFiles, NamesAreReadAsTheyAreWritten) {
  const auto part = parse_archive_file_name("networks-00002-of-00013.safetensors", true);
  ASSERT_TRUE(part);
  EXPECT_EQ(part->stem, "networks");
  EXPECT_EQ(part->part, 2);
  EXPECT_EQ(part->num_parts, 13);
  EXPECT_EQ(parse_archive_file_name("networks-00002-of-00013.safetensors", false)->stem, "networks-00002-of-00013");
  for (const char* name : {"networks.safetensors", "networks-2-of-00013.safetensors", "n-00000-of-00002.safetensors",
                           "-00001-of-00002.safetensors", "n-0000x-of-00002.safetensors"}) {
    EXPECT_EQ(parse_archive_file_name(name, true)->num_parts, 1) << name;
  }
  EXPECT_FALSE(parse_archive_file_name("state.json", true));
}

}  // namespace
}  // namespace leda::checkpoint
