#include "language/contrast.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>

#include "base/error.hpp"
#include "ct/tissue.hpp"

namespace leda::language {

void check_contrast(const std::string& contrast) {
  if (contrast == "enhanced" || contrast == "none" || contrast == "auto") return;
  throw base::ErrorOnAllRanks(base::ExitCode::options,
                              {.what = "words.contrast is unknown",
                               .value = contrast,
                               .why = "it decides whether 90 to 200 HU is called blood or bone",
                               .remedy = "use enhanced, none or auto"});
}

at::Tensor with_contrast(const at::Tensor& tissue, const std::string& contrast) {
  if (contrast == "enhanced") return tissue;
  const at::Tensor is_blood = tissue.eq(static_cast<std::int64_t>(ct::Tissue::blood));
  at::Tensor is_bare = at::ones_like(is_blood);
  if (contrast == "auto") {
    const at::Tensor blood = is_blood.sum({1, 2}, true).to(at::kDouble);
    const at::Tensor soft = tissue.eq(static_cast<std::int64_t>(ct::Tissue::soft)).sum({1, 2}, true).to(at::kDouble);
    is_bare = blood.lt(kEnhancedShare * (blood + soft));
  }
  return at::where(is_blood.logical_and(is_bare), at::ones_like(tissue) * static_cast<std::int64_t>(ct::Tissue::bone),
                   tissue);
}

}  // namespace leda::language
