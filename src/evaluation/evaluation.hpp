// Measures denoisers over a data set on any number of ranks, beside the classical baselines. Every figure is
// taken per slice inside the body, on images clipped to the window, then averaged over slices.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "ct/hounsfield.hpp"
#include "data/shards/shard_catalogue.hpp"
#include "distributed/core/communicator.hpp"
#include "evaluation/evaluation_result.hpp"
#include "evaluation/image_words.hpp"
#include "logging/console.hpp"

namespace leda::evaluation {

// A trained denoiser. Methods of equal name are one row of the table, one seed each.
struct Method {
  std::string name{};  // the row, "with LEDA" say
  std::int64_t seed = 0;
  // H x W in HU, float64, to the same. Runs on one rank alone: no collectives inside.
  std::function<at::Tensor(const at::Tensor& low_dose_hu)> denoise_hu{};
};

struct EvaluationOptions {
  ct::Window window{};
  std::int64_t max_tuning_slices = 6;  // evenly spaced over the validation slices
  // Asked as often on every rank, before each round of slices, in tuning too, and of one answer on all: true = give up.
  // May be empty.
  std::function<bool()> should_stop{};
  const WordReader* words = nullptr;  // measures the agreement of words too; none: not measured
  std::int64_t num_top_words = 5;     // that the overlap compares
};

// Collective. Slices are shared out over the ranks; every rank returns the same result, to the last bit whatever the
// number of ranks. Throws Error(options) for a method that has the name of a
// row which every table has, Error(data) for data without low dose or without a body, Error(non_finite) for a method
// that answers with NaN. nullopt where should_stop said so.
std::optional<EvaluationResult> evaluate(const data::ShardCatalogue& test, const data::ShardCatalogue& validation,
                                         const std::vector<Method>& methods, const EvaluationOptions& options,
                                         distributed::Communicator& communicator, logging::Console& console);

}  // namespace leda::evaluation
