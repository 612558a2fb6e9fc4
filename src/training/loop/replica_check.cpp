#include "training/loop/replica_check.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "distributed/watch/hang_diagnosis.hpp"
#include "storage/checksum.hpp"

namespace leda::training {
namespace {

std::int64_t checksum_of(const storage::TensorArchive& networks) {
  storage::RunningChecksum sum;
  for (const auto& [name, tensor] : networks.tensors) {
    const at::Tensor values = tensor.detach().cpu().contiguous();
    sum.update({static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()});
  }
  return static_cast<std::int64_t>(sum.value());
}

}  // namespace

void require_equal_replicas(const storage::TensorArchive& networks, std::int64_t step,
                            distributed::Communicator& communicator) {
  const at::Tensor own = at::empty({1}, at::kLong);
  *own.mutable_data_ptr<std::int64_t>() = checksum_of(networks);
  const at::Tensor all = distributed::all_gather(communicator, own);
  std::map<std::int64_t, std::vector<int>> ranks_with;
  for (int rank = 0; rank < communicator.size(); ++rank) {
    ranks_with[all.const_data_ptr<std::int64_t>()[rank]].push_back(rank);
  }
  if (ranks_with.size() == 1) return;
  std::size_t largest = 0;
  for (const auto& [checksum, ranks] : ranks_with) largest = std::max(largest, ranks.size());
  const bool has_majority = 2 * largest > static_cast<std::size_t>(communicator.size());
  std::vector<int> differing;
  std::vector<std::string> texts;
  for (const auto& [checksum, ranks] : ranks_with) {
    texts.push_back(fmt::format("checksum {} on {}", storage::checksum_text(static_cast<std::uint64_t>(checksum)),
                                distributed::ranks_text(ranks)));
    if (has_majority && ranks.size() == largest) continue;
    differing.insert(differing.end(), ranks.begin(), ranks.end());
  }
  std::sort(differing.begin(), differing.end());
  throw base::ErrorOnAllRanks(
      base::ExitCode::communication,
      {.what = has_majority
                   ? fmt::format("the network of {} is not the other ranks' after step {}",
                                 distributed::ranks_text(differing), step)
                   : fmt::format("{} hold different networks after step {}", distributed::ranks_text(differing), step),
       .value = fmt::format("{}", fmt::join(texts, "; ")),
       .why = "ranks that have drifted apart train on each other's errors; nothing was saved",
       .remedy = "start the same command again, it goes on from the checkpoint before; if it happens again, look at "
                 "the memory and the network of those ranks' hosts"});
}

}  // namespace leda::training
