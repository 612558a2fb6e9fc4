// Small shards whose values follow a formula that tests/data/shard_reference.py knows too.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "data/shard_writer.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/run_command.hpp"

namespace leda::test {

inline constexpr data::ShardShape kFullShape{
    .rows = 6, .columns = 8, .has_low_dose = true, .has_tissue = true, .has_noise_free = true};

inline data::Slice make_slice(std::int64_t index, const data::ShardShape& shape, const std::string& patient = "p1") {
  const at::Tensor row = at::arange(shape.rows, at::kLong).unsqueeze(1);
  const at::Tensor column = at::arange(shape.columns, at::kLong).unsqueeze(0);
  data::Slice slice;
  slice.record = {.patient = patient,
                  .series = "s1",
                  .spacing_mm = {0.5, 0.75, 2.0},
                  .position_mm = 2.0 * static_cast<double>(index),
                  .dose_fraction = shape.has_low_dose ? 0.25 : 1.0};
  const at::Tensor normal = (31 * index + 7 * row + 3 * column).remainder(4000) - 1000;
  slice.normal_dose_hu = normal.to(at::kShort);
  if (shape.has_low_dose) slice.low_dose_hu = (normal + 5 * (row + column).remainder(3)).to(at::kShort);
  if (shape.has_tissue) slice.tissue = (row + column + index).remainder(8).to(at::kByte);
  if (shape.has_noise_free) slice.noise_free_hu = (normal - 1).to(at::kShort);
  return slice;
}

// Slices first, first + 1, ... of one shard.
inline void write_tiny_shard(const std::filesystem::path& path, std::int64_t first, std::int64_t count,
                             const data::ShardShape& shape = kFullShape, const std::string& patient = "p1") {
  data::ShardWriter writer(path, shape, "a test");
  for (std::int64_t i = first; i < first + count; ++i) writer.append(make_slice(i, shape, patient));
  writer.finish();
}

inline std::string bytes_of(const std::filesystem::path& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

inline void run_shard_script(const std::string& arguments) {
  const CommandResult result = run_command(
      fmt::format("{} {}/tests/data/shard_reference.py {}", LEDA_TEST_PYTHON, LEDA_SOURCE_FOLDER, arguments));
  ASSERT_EQ(result.exit_code, 0) << result.output;
}

}  // namespace leda::test
