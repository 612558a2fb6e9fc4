// The denoisers without learning as rows of a table: their one parameter is the one of lowest mean RMSE, inside the
// body and against the normal dose, on validation slices.
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

namespace leda::evaluation {

// Their rows of a table.
inline constexpr const char* kBestGaussian = "best Gaussian";
inline constexpr const char* kNonLocalMeans = "non-local means";

struct ClassicalBaseline {
  std::string name{};       // one of the above
  std::string parameter{};  // "sigma 0.52 pixels"
  double parameter_value = 0.0;
  std::function<at::Tensor(const at::Tensor& low_dose_hu)> denoise_hu{};  // H x W, clipped to the window
};

struct TunedClassicalBaselines {
  std::vector<ClassicalBaseline> baselines{};
  std::vector<std::int64_t> tuning_slice_ids{};
};

// Collective; slices are shared out over the ranks. Throws Error(data) where no validation slice shows a body, or low
// and normal dose are equal. `should_stop` as of EvaluationOptions; nullopt where it said so.
std::optional<TunedClassicalBaselines> tune_classical_baselines(const data::ShardCatalogue& validation,
                                                                const ct::Window& window,
                                                                std::int64_t max_tuning_slices,
                                                                distributed::Communicator& communicator,
                                                                const std::function<bool()>& should_stop = {});

}  // namespace leda::evaluation
