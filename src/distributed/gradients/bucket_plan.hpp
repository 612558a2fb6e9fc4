// Which gradients travel together. A plan depends on the parameters' sizes and order only, is made once, and is kept
// in the checkpoint: another plan sums in another order, which changes the last bits (docs/decisions/0002).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace leda::distributed {

struct NamedParameter {
  std::string name;
  at::Tensor tensor;
};

// How gradients travel: as they are, or rounded.
enum class GradientCompression { full, bfloat16 };
constexpr std::array<std::string_view, 2> names_of(GradientCompression) { return {"full", "bfloat16"}; }

// When a NaN or infinity is found: before_sum names the rank at once, on_device waits for nothing; automatic:
// before_sum in host memory.
enum class NonFiniteCheck { automatic, before_sum, on_device };
constexpr std::array<std::string_view, 3> names_of(NonFiniteCheck) { return {"auto", "before_sum", "on_device"}; }

struct SynchronizerOptions {
  std::int64_t bucket_bytes = std::int64_t{4} << 20;
  // The first to leave is small, so that communication begins early.
  std::int64_t first_bucket_bytes = std::int64_t{1} << 20;
  GradientCompression gradient_compression = GradientCompression::full;
  bool overlap = true;  // false: buckets leave after backward only; to measure what overlap gains
  NonFiniteCheck non_finite_check = NonFiniteCheck::automatic;
  bool reproducible = false;  // sums in a fixed tree over samples; one sample a micro-batch
};

struct BucketPlan {
  // Buckets in the order in which they leave; each lists indices into the parameters' order of registration.
  std::vector<std::vector<int>> parameter_indices;

  std::string text() const;  // JSON, [[2, 1], [0]]
  // Error(data) for anything but a list of lists of indices.
  static BucketPlan from_text(const std::string& text);
  // 64 bits of text(), to compare plans over ranks.
  std::uint64_t hash() const;

  bool operator==(const BucketPlan&) const = default;
};

// Fills buckets in reverse order of registration, which is about the order in which backward finishes gradients. A
// bucket is closed when the next parameter would exceed its limit or has another type; a parameter larger than the
// limit travels alone.
BucketPlan plan_buckets(const std::vector<NamedParameter>& parameters, const SynchronizerOptions& options);

}  // namespace leda::distributed
