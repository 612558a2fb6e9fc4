// The slices of one rank's micro-batch, as the loader hands them up and the stages take them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace leda::ct {

struct ImageBatch {
  at::Tensor normal_dose;               // B x 1 x H x W, network range, the run's precision; B may be 0
  at::Tensor low_dose;                  // B x 1 x H x W, network range; undefined where the job needs none
  at::Tensor tissue;                    // B x H x W, uint8 labels (ct/tissue), augmented like the images
  std::vector<std::int64_t> slice_ids;  // B ids, unique within the data set

  std::int64_t size() const { return static_cast<std::int64_t>(slice_ids.size()); }
};

}  // namespace leda::ct
