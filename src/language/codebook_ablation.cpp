#include "language/codebook_ablation.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <numeric>
#include <utility>

#include "base/choice.hpp"
#include "base/keyed_random.hpp"

namespace leda::language {
namespace {

base::KeyedRandom random_of(std::string_view ablation, std::uint64_t seed) {
  return base::KeyedRandom({seed, base::key_of("vocabulary.control"), base::key_of(ablation)});
}

// Fisher and Yates.
at::Tensor permutation(std::int64_t size, std::uint64_t seed) {
  at::Tensor order = at::empty({size}, at::TensorOptions(at::kLong));
  std::int64_t* const row = order.mutable_data_ptr<std::int64_t>();
  std::iota(row, row + size, std::int64_t{0});
  base::KeyedRandom random = random_of("shuffled", seed);
  for (std::int64_t last = size - 1; last > 0; --last) {
    std::swap(row[last], row[random.below(static_cast<std::uint64_t>(last) + 1)]);
  }
  return order;
}

at::Tensor random_directions(const at::Tensor& codebook, std::uint64_t seed) {
  at::Tensor rows = at::empty(codebook.sizes(), at::TensorOptions(at::kDouble));
  double* const value = rows.mutable_data_ptr<double>();
  base::KeyedRandom random = random_of("random", seed);
  for (std::int64_t i = 0; i < rows.numel(); ++i) value[i] = random.normal();
  const auto lengths = [](const at::Tensor& of) { return at::linalg_vector_norm(of, 2, at::IntArrayRef{1}, true); };
  return (rows * (lengths(codebook.to(at::kDouble)) / lengths(rows))).to(codebook.scalar_type());
}

}  // namespace

at::Tensor ablate_codebook(const at::Tensor& codebook, CodebookAblation ablation, std::uint64_t seed) {
  switch (ablation) {
    case CodebookAblation::none:
      return codebook;
    case CodebookAblation::shuffled:
      return codebook.index_select(0, permutation(codebook.size(0), seed));
    case CodebookAblation::random:
      return random_directions(codebook, seed);
  }
  TORCH_INTERNAL_ASSERT(false, "an ablation without a codebook");
}

std::string ablation_record(CodebookAblation ablation, std::uint64_t seed) {
  const std::string name = base::name_of(ablation);
  return ablation == CodebookAblation::none ? name : fmt::format("{}, seed {}", name, seed);
}

}  // namespace leda::language
