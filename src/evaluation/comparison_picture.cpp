#include "evaluation/comparison_picture.hpp"

#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <utility>

#include "evaluation/body_mask.hpp"
#include "evaluation/image_metrics.hpp"
#include "evaluation/prepared_slice.hpp"
#include "pictures/panel.hpp"

namespace leda::evaluation {
namespace {

constexpr std::int64_t kMaxSlicesLookedAt = 16;

std::string rmse_text(const at::Tensor& image_hu, const PreparedSlice& slice) {
  return fmt::format("RMSE {:.1f} HU", rmse(image_hu, slice.references_hu.front(), slice.body));
}

// The low dose and each method's first seed, in HU, clipped to the methods' window.
std::vector<std::pair<std::string, at::Tensor>> images_of(const PreparedSlice& slice,
                                                          const std::vector<Method>& methods,
                                                          const PictureOptions& options) {
  std::vector<std::pair<std::string, at::Tensor>> images{{"low dose", slice.low_dose_hu}};
  std::set<std::string> seen;
  for (const Method& method : methods) {
    if (!seen.insert(method.name).second) continue;
    images.emplace_back(method.name, clipped_hu(method.denoise_hu(slice.low_dose_hu), options.window));
  }
  return images;
}

}  // namespace

std::int64_t choose_picture_slice(const data::ShardCatalogue& test) {
  std::int64_t best = 0;
  std::int64_t largest = -1;
  for (const std::int64_t id : evenly_spaced_ids(test.num_slices(), kMaxSlicesLookedAt)) {
    const std::int64_t area = body_mask(test.read_slice(id, {}).normal_dose_hu).sum().item<std::int64_t>();
    if (area <= largest) continue;
    best = id;
    largest = area;
  }
  return best;
}

void write_comparison_picture(const std::filesystem::path& path, const data::ShardCatalogue& test,
                              const std::vector<Method>& methods, const PictureOptions& options) {
  const c10::NoGradGuard no_gradients;
  require_low_dose(test);
  const std::int64_t slice_id = choose_picture_slice(test);
  const PreparedSlice slice = prepare_slice(test, slice_id, options.window);
  const at::Tensor& normal_dose_hu = slice.references_hu.front();
  // Three times the noise, rounded up to a multiple of 25 HU.
  const double half_width_hu =
      25.0 * std::max(1.0, std::ceil(3.0 * rmse(slice.low_dose_hu, normal_dose_hu, slice.body) / 25.0));

  std::vector<pictures::PanelImage> images;
  std::vector<pictures::PanelImage> differences;
  for (const auto& [name, image_hu] : images_of(slice, methods, options)) {
    images.push_back(
        {.label = name, .detail = rmse_text(image_hu, slice), .image_hu = image_hu, .window = options.display});
    differences.push_back(pictures::difference_panel(name, image_hu, normal_dose_hu, half_width_hu));
    differences.back().detail = "minus normal dose";
  }
  images.push_back({.label = "normal dose", .image_hu = normal_dose_hu, .window = options.display});
  if (slice.references_hu.size() > 1) {
    differences.push_back({.label = "noise free", .image_hu = slice.references_hu[1], .window = options.display});
  }
  const data::SliceRecord& record = test.record(slice_id);
  pictures::write_panels_png(path, {images, differences},
                             fmt::format("slice {} of {}, dose {:g} %, RMSE inside the body", slice_id, record.patient,
                                         100.0 * record.dose_fraction));
}

}  // namespace leda::evaluation
