// Which samples of a global batch belong to which rank: the one rule for loading and for summing.
#pragma once

#include <cstdint>

namespace leda::distributed {

// Positions [first, last) within the global batch.
struct BatchPartition {
  std::int64_t first = 0;
  std::int64_t last = 0;

  std::int64_t size() const { return last - first; }
  bool operator==(const BatchPartition&) const = default;
};

// Contiguous shares in the order of ranks, whose sizes differ by one at most; empty where there are more ranks than
// samples. 0 <= rank < num_ranks.
inline BatchPartition partition_of_rank(std::int64_t num_samples, int rank, int num_ranks) {
  return {rank * num_samples / num_ranks, (rank + 1) * num_samples / num_ranks};
}

}  // namespace leda::distributed
