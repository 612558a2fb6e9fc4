#include "evaluation/prepared_slice.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"
#include "evaluation/body_mask.hpp"
#include "evaluation/image_metrics.hpp"

namespace leda::evaluation {
namespace {

// Pixels at each border that SSIM's 11 x 11 filter does not reach.
constexpr std::int64_t kSsimBorder = 5;

bool has_body_in_interior(const at::Tensor& body) {
  if (body.size(0) <= 2 * kSsimBorder || body.size(1) <= 2 * kSsimBorder) return false;
  return body.slice(0, kSsimBorder, -kSsimBorder).slice(1, kSsimBorder, -kSsimBorder).any().item<bool>();
}

}  // namespace

PreparedSlice prepare_slice(const data::ShardCatalogue& catalogue, std::int64_t slice_id, const ct::Window& window) {
  const data::Slice slice = catalogue.read_slice(slice_id, {.low_dose = true, .noise_free = true});
  PreparedSlice prepared;
  prepared.low_dose_hu = clipped_hu(slice.low_dose_hu, window);
  prepared.references_hu.push_back(clipped_hu(slice.normal_dose_hu, window));
  if (slice.noise_free_hu.defined()) prepared.references_hu.push_back(clipped_hu(slice.noise_free_hu, window));
  prepared.body = body_mask(slice.normal_dose_hu);
  prepared.measurable = has_body_in_interior(prepared.body);
  return prepared;
}

std::vector<std::string> reference_names(const data::ShardCatalogue& catalogue) {
  if (catalogue.has_noise_free()) return {"normal dose", "noise free"};
  return {"normal dose"};
}

void require_low_dose(const data::ShardCatalogue& catalogue) {
  if (catalogue.has_low_dose()) return;
  throw base::ErrorOnAllRanks(base::ExitCode::data, {.what = catalogue.folder().string() + ": no low-dose images",
                                                     .value = "",
                                                     .why = "a denoiser is measured on pairs of low and normal dose",
                                                     .remedy = "make them with `leda_data simulate`"});
}

std::vector<std::int64_t> evenly_spaced_ids(std::int64_t num_slices, std::int64_t num_wanted) {
  const std::int64_t count = std::min(num_slices, std::max<std::int64_t>(1, num_wanted));
  std::vector<std::int64_t> ids;
  for (std::int64_t k = 0; k < count; ++k) ids.push_back((2 * k + 1) * num_slices / (2 * count));
  return ids;
}

}  // namespace leda::evaluation
