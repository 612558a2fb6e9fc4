// A tiny data set with known answers: a disc of soft tissue with a bone inside, low dose = normal dose + noise.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/normal.h>

#include <filesystem>
#include <string>

#include "data/shards/shard_catalogue.hpp"
#include "data/shards/shard_writer.hpp"

namespace leda::test {

inline constexpr std::int64_t kDiscSide = 48;
inline constexpr double kDiscNoiseHu = 30.0;

inline at::Tensor disc_hu() {
  const at::Tensor i = at::arange(kDiscSide, at::TensorOptions(at::kDouble)).unsqueeze(1);
  const at::Tensor j = at::arange(kDiscSide, at::TensorOptions(at::kDouble)).unsqueeze(0);
  const at::Tensor distance = (i - 23.5).square() + (j - 23.5).square();
  return -1000.0 + 1050.0 * distance.lt(18.0 * 18.0) + 600.0 * distance.lt(5.0 * 5.0);
}

inline at::Tensor noise_hu(std::uint64_t seed, double deviation) {
  return at::normal(0.0, deviation, {kDiscSide, kDiscSide}, at::make_generator<at::CPUGeneratorImpl>(seed), at::kDouble,
                    at::kStrided, at::kCPU, false);
}

// Slice k belongs to patient k / 2; slice 0 shows air only where asked for.
inline data::ShardCatalogue disc_dataset(const std::filesystem::path& folder, std::int64_t num_slices,
                                         std::uint64_t seed, bool starts_with_air = false) {
  std::filesystem::create_directories(folder);
  data::ShardWriter writer(
      folder / "shard_0000.h5",
      {.rows = kDiscSide, .columns = kDiscSide, .has_low_dose = true, .has_tissue = false, .has_noise_free = true});
  for (std::int64_t k = 0; k < num_slices; ++k) {
    const std::uint64_t key = seed * 1000 + static_cast<std::uint64_t>(k);
    const bool is_air = starts_with_air && k == 0;
    const at::Tensor truth = is_air ? at::full({kDiscSide, kDiscSide}, -1000.0, at::kDouble) : disc_hu();
    data::Slice slice;
    slice.record.patient = "patient " + std::to_string(k / 2);
    slice.record.series = "series";
    slice.record.position_mm = static_cast<double>(k);
    slice.record.dose_fraction = 0.25;
    const at::Tensor normal = truth + noise_hu(2 * key, 0.3 * kDiscNoiseHu);
    slice.noise_free_hu = truth.to(at::kShort);
    slice.normal_dose_hu = normal.round().to(at::kShort);
    slice.low_dose_hu = (normal + noise_hu(2 * key + 1, kDiscNoiseHu)).round().to(at::kShort);
    writer.append(slice);
  }
  writer.finish();
  return data::ShardCatalogue::open(folder);
}

}  // namespace leda::test
