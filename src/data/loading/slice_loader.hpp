// Slices of a data set as training takes them: network range, cropped and augmented by a draw that depends on (seed,
// epoch, slice) alone and is the same for both doses and the labels. Immutable; any number of threads may load at once.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "ct/hounsfield.hpp"
#include "ct/image_batch.hpp"
#include "data/loading/epoch_order.hpp"
#include "data/shards/shard_catalogue.hpp"

namespace leda::data {

struct LoaderOptions {
  ct::Window window{};
  at::ScalarType dtype = at::kFloat;
  int crop = 0;            // side of a square, in pixels; 0 = the whole image
  bool flips = false;      // left-right, with probability one half
  bool rotations = false;  // by 0, 90, 180 or 270 degrees; images that are not square (after the crop): 0 or 180
  bool needs_low_dose = false;
  bool needs_tissue = false;
  std::uint64_t seed = 0;
};

class SliceLoader {
 public:
  // Throws Error(data) where low dose is needed and absent, Error(options) where the crop exceeds the image. The
  // catalogue must outlive the loader.
  SliceLoader(const ShardCatalogue& catalogue, const LoaderOptions& options);

  const ShardCatalogue& catalogue() const { return *catalogue_; }

  // One image per sample; without samples 0 x 1 x h x w.
  ct::ImageBatch load(std::span<const SampleRef> samples) const;
  std::int64_t height() const;  // h, w: the crop, or the image
  std::int64_t width() const;

 private:
  const ShardCatalogue* catalogue_;
  LoaderOptions options_;
};

}  // namespace leda::data
