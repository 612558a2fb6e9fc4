#include "distributed/gradients/bucket_plan.hpp"

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/keyed_random.hpp"

namespace leda::distributed {

std::string BucketPlan::text() const { return nlohmann::json(parameter_indices).dump(); }

BucketPlan BucketPlan::from_text(const std::string& text) {
  try {
    BucketPlan plan;
    nlohmann::json::parse(text).get_to(plan.parameter_indices);
    return plan;
  } catch (const nlohmann::json::exception& failure) {
    throw base::Error(base::ExitCode::data,
                      {.what = "a bucket plan is no list of lists of parameter indices",
                       .value = text.substr(0, 200),
                       .why = "without the plan of the interrupted run its sums cannot be continued bit for bit",
                       .remedy = "resume from an older checkpoint, this one is damaged"});
  }
}

std::uint64_t BucketPlan::hash() const { return base::key_of(text()); }

BucketPlan plan_buckets(const std::vector<NamedParameter>& parameters, const SynchronizerOptions& options) {
  BucketPlan plan;
  std::int64_t bytes_in_bucket = 0;
  for (int index = static_cast<int>(parameters.size()) - 1; index >= 0; --index) {
    const at::Tensor& tensor = parameters[static_cast<std::size_t>(index)].tensor;
    const auto num_bytes = static_cast<std::int64_t>(tensor.nbytes());
    auto& buckets = plan.parameter_indices;
    const std::int64_t limit = buckets.size() <= 1 ? options.first_bucket_bytes : options.bucket_bytes;
    const bool fits =
        !buckets.empty() && bytes_in_bucket + num_bytes <= limit &&
        parameters[static_cast<std::size_t>(buckets.back().front())].tensor.scalar_type() == tensor.scalar_type();
    if (!fits) {
      buckets.emplace_back();
      bytes_in_bucket = 0;
    }
    buckets.back().push_back(index);
    bytes_in_bucket += num_bytes;
  }
  return plan;
}

}  // namespace leda::distributed
