#include "data/loading/slice_loader.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/flip.h>
#include <ATen/ops/rot90.h>
#include <ATen/ops/stack.h>
#include <fmt/format.h>

#include <vector>

#include "base/error.hpp"
#include "base/keyed_random.hpp"
#include "ct/tissue.hpp"

namespace leda::data {
namespace {

// What is done to one slice, the same to each of its images.
struct Augmentation {
  std::int64_t top = 0;
  std::int64_t left = 0;
  bool is_flipped = false;
  int quarter_turns = 0;
};

Augmentation draw_augmentation(const LoaderOptions& options, const SampleRef& sample, std::int64_t rows,
                               std::int64_t columns) {
  base::KeyedRandom random({base::key_of("augmentation"), options.seed, static_cast<std::uint64_t>(sample.epoch),
                            static_cast<std::uint64_t>(sample.slice_id)});
  Augmentation drawn;
  if (options.crop > 0) {
    drawn.top = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(rows - options.crop + 1)));
    drawn.left = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(columns - options.crop + 1)));
  }
  if (options.flips) drawn.is_flipped = random.below(2) == 1;
  if (options.rotations) {
    const bool is_square = options.crop > 0 || rows == columns;
    drawn.quarter_turns = is_square ? static_cast<int>(random.below(4)) : 2 * static_cast<int>(random.below(2));
  }
  return drawn;
}

at::Tensor augmented(at::Tensor image, const Augmentation& augmentation, std::int64_t crop) {
  if (crop > 0) image = image.narrow(0, augmentation.top, crop).narrow(1, augmentation.left, crop);
  if (augmentation.is_flipped) image = at::flip(image, {1});
  if (augmentation.quarter_turns > 0) image = at::rot90(image, augmentation.quarter_turns, {0, 1});
  return image;
}

at::Tensor stacked(const std::vector<at::Tensor>& images, at::IntArrayRef shape_of_none, at::ScalarType type) {
  if (images.empty()) return at::empty(shape_of_none, at::TensorOptions().dtype(type));
  return at::stack(images).contiguous();
}

void check_low_dose(const ShardCatalogue& catalogue, const LoaderOptions& options) {
  if (!options.needs_low_dose || catalogue.has_low_dose()) return;
  throw base::Error(base::ExitCode::data,
                    {.what = fmt::format("data set '{}' has no low-dose images", catalogue.folder().string()),
                     .value = "",
                     .why = "a denoiser learns from pairs",
                     .remedy = "add low-dose partners with `leda_data simulate`"});
}

void check_crop(const ShardCatalogue& catalogue, const LoaderOptions& options) {
  if (options.crop >= 0 && options.crop <= catalogue.rows() && options.crop <= catalogue.columns()) return;
  throw base::Error(base::ExitCode::options,
                    {.what = fmt::format("crops do not fit the slices of '{}'", catalogue.folder().string()),
                     .value = fmt::format("a side of {} pixels, in slices of {} x {}", options.crop, catalogue.rows(),
                                          catalogue.columns()),
                     .why = "",
                     .remedy = "choose a smaller crop, or 0 for whole slices"});
}

}  // namespace

SliceLoader::SliceLoader(const ShardCatalogue& catalogue, const LoaderOptions& options)
    : catalogue_(&catalogue), options_(options) {
  check_low_dose(catalogue, options);
  check_crop(catalogue, options);
}

std::int64_t SliceLoader::height() const { return options_.crop > 0 ? options_.crop : catalogue_->rows(); }
std::int64_t SliceLoader::width() const { return options_.crop > 0 ? options_.crop : catalogue_->columns(); }

ct::ImageBatch SliceLoader::load(std::span<const SampleRef> samples) const {
  const SliceFields fields{.low_dose = options_.needs_low_dose, .tissue = options_.needs_tissue};
  std::vector<at::Tensor> normal_doses, low_doses, tissues;
  ct::ImageBatch batch;
  for (const SampleRef& sample : samples) {
    const Slice slice = catalogue_->read_slice(sample.slice_id, fields);
    const Augmentation drawn = draw_augmentation(options_, sample, catalogue_->rows(), catalogue_->columns());
    const auto in_network_range = [&](const at::Tensor& image_hu) {
      const at::Tensor image = augmented(image_hu, drawn, options_.crop).to(options_.dtype);
      return ct::to_network_range(image, options_.window).unsqueeze(0);
    };
    normal_doses.push_back(in_network_range(slice.normal_dose_hu));
    if (options_.needs_low_dose) low_doses.push_back(in_network_range(slice.low_dose_hu));
    if (options_.needs_tissue) {
      const at::Tensor labels = slice.tissue.defined() ? slice.tissue : ct::tissue_of_hu(slice.normal_dose_hu);
      tissues.push_back(augmented(labels, drawn, options_.crop));
    }
    batch.slice_ids.push_back(sample.slice_id);
  }
  batch.normal_dose = stacked(normal_doses, {0, 1, height(), width()}, options_.dtype);
  if (options_.needs_low_dose) batch.low_dose = stacked(low_doses, {0, 1, height(), width()}, options_.dtype);
  if (options_.needs_tissue) batch.tissue = stacked(tissues, {0, height(), width()}, at::kByte);
  return batch;
}

}  // namespace leda::data
