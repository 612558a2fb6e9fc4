// A slice of a data set ready to be measured: what a method sees, what its answer is compared with, and where.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "ct/hounsfield.hpp"
#include "data/shards/shard_catalogue.hpp"

namespace leda::evaluation {

// Images H x W in HU, float64, clipped to the window.
struct PreparedSlice {
  at::Tensor low_dose_hu{};
  std::vector<at::Tensor> references_hu{};  // normal dose, then noise free where the data has it
  at::Tensor body{};                        // uint8
  bool measurable = false;                  // there is a body where every figure can be taken
};

PreparedSlice prepare_slice(const data::ShardCatalogue& catalogue, std::int64_t slice_id, const ct::Window& window);

// Names of PreparedSlice::references_hu.
std::vector<std::string> reference_names(const data::ShardCatalogue& catalogue);

// Throws ErrorOnAllRanks(data) where the catalogue holds no low-dose images.
void require_low_dose(const data::ShardCatalogue& catalogue);

// At most `num_wanted` ids, in the middles of equal parts of 0..num_slices-1.
std::vector<std::int64_t> evenly_spaced_ids(std::int64_t num_slices, std::int64_t num_wanted);

}  // namespace leda::evaluation
