#include "evaluation/classical_baselines.hpp"

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <utility>

#include "base/error.hpp"
#include "data/shards/rank_walk.hpp"
#include "evaluation/classical_denoisers.hpp"
#include "evaluation/image_metrics.hpp"
#include "evaluation/prepared_slice.hpp"

namespace leda::evaluation {
namespace {

constexpr int kNumEvaluations = 9;       // of golden-section search: h within 6 %
constexpr double kSmallestSigma = 0.15;  // pixels; nearly the identity
constexpr double kLargestSigma = 3.0;
// h is sought about the low dose's RMSE, which is close to the standard deviation of its noise.
constexpr double kSmallestShareOfNoise = 0.25;
constexpr double kLargestShareOfNoise = 4.0;

using Filter = std::function<at::Tensor(const at::Tensor& low_dose_hu)>;

// Thrown within a tuning that is to be left, on every rank alike.
struct TuningCancelled {};

// The tuning slices of this rank, and the mean over all ranks' slices of a filter's RMSE.
class TuningSet {
 public:
  TuningSet(const data::ShardCatalogue& validation, std::vector<std::int64_t> ids, const ct::Window& window,
            distributed::Communicator& communicator, const std::function<bool()>& should_stop)
      : communicator_(communicator), should_stop_(should_stop), num_slices_(static_cast<std::int64_t>(ids.size())) {
    data::walk_by_rank(num_slices_, communicator, {}, [&](std::int64_t k) {
      own_.push_back(prepare_slice(validation, ids[static_cast<std::size_t>(k)], window));
    });
  }

  // NaN where no slice can be measured.
  double mean_rmse_hu(const Filter& filter) const {
    at::Tensor cells = at::zeros({num_slices_, 2}, at::kDouble);
    auto cell = cells.accessor<double, 2>();
    const auto visit = [&](std::int64_t k) {
      const PreparedSlice& slice = own_[static_cast<std::size_t>(k / communicator_.size())];
      if (!slice.measurable) return;
      cell[k][0] = rmse(filter(slice.low_dose_hu), slice.references_hu.front(), slice.body);
      cell[k][1] = 1.0;
    };
    const data::RankWalk walk{.activity = "tuning of a classical denoiser, slice", .should_stop = should_stop_};
    if (!data::walk_by_rank(num_slices_, communicator_, walk, visit)) throw TuningCancelled();
    distributed::all_reduce(communicator_, cells);
    double sum = 0.0;
    double count = 0.0;
    for (std::int64_t k = 0; k < num_slices_; ++k) {
      sum += cell[k][0];
      count += cell[k][1];
    }
    return sum / count;
  }

 private:
  distributed::Communicator& communicator_;
  const std::function<bool()>& should_stop_;
  std::int64_t num_slices_;
  std::vector<PreparedSlice> own_;
};

double noise_of(const TuningSet& tuning, const data::ShardCatalogue& validation) {
  const double noise_hu = tuning.mean_rmse_hu([](const at::Tensor& low_dose_hu) { return low_dose_hu; });
  if (noise_hu > 0.0) return noise_hu;
  throw base::ErrorOnAllRanks(
      base::ExitCode::data,
      {.what = validation.folder().string() + ": Gaussian filter and non-local means cannot be tuned on these slices",
       .value = fmt::format("RMSE of the low dose inside the body: {} HU", noise_hu),
       .why = "there must be a body in the image, and low and normal dose must differ",
       .remedy = "look at the validation data with `leda_data info`"});
}

TunedClassicalBaselines tune(const data::ShardCatalogue& validation, const ct::Window& window,
                             std::int64_t max_tuning_slices, distributed::Communicator& communicator,
                             const std::function<bool()>& should_stop) {
  const std::vector<std::int64_t> ids = evenly_spaced_ids(validation.num_slices(), max_tuning_slices);
  const TuningSet tuning(validation, ids, window, communicator, should_stop);
  const double noise_hu = noise_of(tuning, validation);

  const double sigma =
      tune_parameter(
          [&](double value) {
            return tuning.mean_rmse_hu([&](const at::Tensor& image) { return gaussian_filter(image, value); });
          },
          kSmallestSigma, kLargestSigma, kNumEvaluations)
          .value;
  const double h =
      tune_parameter(
          [&](double value) {
            return tuning.mean_rmse_hu([&](const at::Tensor& image) { return non_local_means(image, value); });
          },
          kSmallestShareOfNoise * noise_hu, kLargestShareOfNoise * noise_hu, kNumEvaluations)
          .value;
  TunedClassicalBaselines tuned;
  tuned.tuning_slice_ids = ids;
  tuned.baselines.push_back({.name = kBestGaussian,
                             .parameter = fmt::format("sigma {:.2f} pixels", sigma),
                             .parameter_value = sigma,
                             .denoise_hu = [sigma](const at::Tensor& image) { return gaussian_filter(image, sigma); }});
  tuned.baselines.push_back({.name = kNonLocalMeans,
                             .parameter = fmt::format("h {:.1f} HU", h),
                             .parameter_value = h,
                             .denoise_hu = [h](const at::Tensor& image) { return non_local_means(image, h); }});
  return tuned;
}

}  // namespace

std::optional<TunedClassicalBaselines> tune_classical_baselines(const data::ShardCatalogue& validation,
                                                                const ct::Window& window,
                                                                std::int64_t max_tuning_slices,
                                                                distributed::Communicator& communicator,
                                                                const std::function<bool()>& should_stop) {
  require_low_dose(validation);
  try {
    return tune(validation, window, max_tuning_slices, communicator, should_stop);
  } catch (const TuningCancelled&) {
    return std::nullopt;
  }
}

}  // namespace leda::evaluation
