#include "ct/tissue.hpp"

#include <ATen/ops/bucketize.h>
#include <ATen/ops/empty.h>

namespace leda::ct {

at::Tensor tissue_of_hu(const at::Tensor& image_hu) {
  // The upper limits but the last: whatever lies above them all is the last tissue.
  const at::Tensor limits = at::empty({kNumTissues - 1}, at::kDouble);
  for (int i = 0; i < kNumTissues - 1; ++i)
    limits.data_ptr<double>()[i] = kTissues[static_cast<std::size_t>(i)].upper_hu;
  return at::bucketize(image_hu.to(at::kDouble), limits, /*out_int32=*/false, /*right=*/true).to(at::kByte);
}

}  // namespace leda::ct
