#include "distributed/core/watched_communicator.hpp"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <cstdlib>
#include <utility>

#include "base/error.hpp"
#include "base/keyed_random.hpp"

namespace leda::distributed {
namespace {

class WatchedPending : public PendingCollective {
 public:
  WatchedPending(std::unique_ptr<PendingCollective> pending, CollectiveJournal& journal, std::int64_t sequence)
      : pending_(std::move(pending)), journal_(journal), sequence_(sequence) {}

  void wait() override {
    if (is_over_) return;
    {
      const CollectiveJournal::Blocked blocked(journal_, sequence_);
      pending_->wait();
    }
    journal_.finish(sequence_);
    is_over_ = true;
  }

 private:
  std::unique_ptr<PendingCollective> pending_;
  CollectiveJournal& journal_;
  std::int64_t sequence_;
  bool is_over_ = false;
};

[[noreturn]] void refuse(int rank, const std::string& call, int other_rank, const std::string& other_call) {
  throw base::ErrorOnAllRanks(
      base::ExitCode::communication,
      {.what = fmt::format("ranks {} and {} call different collectives", rank, other_rank),
       .value = fmt::format("rank {}: {}; rank {}: {}", rank, call, other_rank, other_call),
       .why = "they would wait for each other for ever, or mix unlike numbers",
       .remedy = "start all ranks with the same program, options and data; if they are, please report this with the "
                 "last events of both ranks"});
}

}  // namespace

WatchedCommunicator::WatchedCommunicator(Communicator& watched, CollectiveJournal& journal, bool check_calls)
    : watched_(watched), journal_(journal) {
  if (!check_calls) return;
  owned_check_channel_ = watched.duplicate();
  check_channel_ = owned_check_channel_.get();
}

WatchedCommunicator::WatchedCommunicator(std::unique_ptr<Communicator> watched, CollectiveJournal& journal,
                                         Communicator* check_channel)
    : owned_(std::move(watched)), watched_(*owned_), journal_(journal), check_channel_(check_channel) {}

WatchedCommunicator::~WatchedCommunicator() = default;

std::int64_t WatchedCommunicator::begin(std::string_view operation, const at::Tensor* tensor) {
  const std::string label = std::exchange(label_, {});
  CollectiveCall call{.operation = operation, .type = {}, .count = 0, .label = label};
  if (tensor != nullptr) {
    call.type = c10::toString(tensor->scalar_type());
    call.count = tensor->numel();
  }
  const std::int64_t sequence = journal_.begin(call);
  if (check_channel_ != nullptr) {
    const CollectiveJournal::Blocked blocked(journal_, sequence);
    check_ranks_agree(call, sequence);
  }
  return sequence;
}

void WatchedCommunicator::check_ranks_agree(const CollectiveCall& call, std::int64_t sequence) {
  const std::string text = fmt::format("collective {}, {}", sequence, call.text());
  const at::Tensor mine = at::empty({1}, at::kLong);
  *mine.mutable_data_ptr<std::int64_t>() = static_cast<std::int64_t>(base::key_of(text));
  const at::Tensor all = all_gather(*check_channel_, mine);
  const auto* hashes = all.const_data_ptr<std::int64_t>();
  bool is_same = true;
  for (int rank = 1; rank < size(); ++rank) is_same = is_same && hashes[rank] == hashes[0];
  if (is_same) return;
  const std::vector<std::string> texts = all_gather_texts(*check_channel_, text);
  for (std::size_t rank = 1; rank < texts.size(); ++rank) {
    if (texts[rank] != texts[0]) refuse(0, texts[0], static_cast<int>(rank), texts[rank]);
  }
}

std::unique_ptr<PendingCollective> WatchedCommunicator::start_all_reduce(at::Tensor tensor) {
  const std::int64_t sequence = begin("all_reduce", &tensor);
  return std::make_unique<WatchedPending>(watched_.start_all_reduce(std::move(tensor)), journal_, sequence);
}

std::unique_ptr<PendingCollective> WatchedCommunicator::start_all_gather(at::Tensor part, at::Tensor all) {
  const std::int64_t sequence = begin("all_gather", &part);
  return std::make_unique<WatchedPending>(watched_.start_all_gather(std::move(part), std::move(all)), journal_,
                                          sequence);
}

std::unique_ptr<PendingCollective> WatchedCommunicator::start_all_to_all(at::Tensor sent, at::Tensor received) {
  const std::int64_t sequence = begin("all_to_all", &sent);
  return std::make_unique<WatchedPending>(watched_.start_all_to_all(std::move(sent), std::move(received)), journal_,
                                          sequence);
}

template <typename Call>
void WatchedCommunicator::block(std::int64_t sequence, const Call& call) {
  {
    const CollectiveJournal::Blocked blocked(journal_, sequence);
    call();
  }
  journal_.finish(sequence);
}

void WatchedCommunicator::broadcast(at::Tensor tensor, int root) {
  block(begin(fmt::format("broadcast from rank {}", root), &tensor),
        [&] { watched_.broadcast(std::move(tensor), root); });
}

void WatchedCommunicator::barrier() {
  block(begin("barrier", nullptr), [this] { watched_.barrier(); });
}

std::unique_ptr<Communicator> WatchedCommunicator::duplicate() {
  std::unique_ptr<Communicator> duplicate;
  block(begin("duplicate", nullptr), [&] { duplicate = watched_.duplicate(); });
  return watch_alike(std::move(duplicate));
}

std::unique_ptr<Communicator> WatchedCommunicator::watch_alike(std::unique_ptr<Communicator> other) {
  return std::make_unique<WatchedCommunicator>(std::move(other), journal_, check_channel_);
}

void WatchedCommunicator::abort(int exit_code) {
  watched_.abort(exit_code);
  std::abort();  // g++ does not take a virtual function's [[noreturn]] for granted
}

}  // namespace leda::distributed
