#include "language/contrast.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>

#include "ct/tissue.hpp"

namespace leda::language {

at::Tensor with_contrast(const at::Tensor& tissue, Contrast contrast) {
  if (contrast == Contrast::enhanced) return tissue;
  const at::Tensor is_blood = tissue.eq(static_cast<std::int64_t>(ct::Tissue::blood));
  at::Tensor is_bare = at::ones_like(is_blood);
  if (contrast == Contrast::automatic) {
    const at::Tensor blood = is_blood.sum({1, 2}, true).to(at::kDouble);
    const at::Tensor soft = tissue.eq(static_cast<std::int64_t>(ct::Tissue::soft)).sum({1, 2}, true).to(at::kDouble);
    is_bare = blood.lt(kEnhancedShare * (blood + soft));
  }
  return at::where(is_blood.logical_and(is_bare), at::ones_like(tissue) * static_cast<std::int64_t>(ct::Tissue::bone),
                   tissue);
}

}  // namespace leda::language
