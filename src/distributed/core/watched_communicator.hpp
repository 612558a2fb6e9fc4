// Any communicator, with a journal kept of what this rank calls on it and on its duplicates, and, where asked for,
// a check before every collective that all ranks call the same one. Borrows the communicator that it wraps; the journal
// outlives both. Duplicates must not outlive the communicator that they come from.
//
// The check compares operation, type, count, label and number over all ranks, on a channel of its own: over all
// duplicates together, because ranks must keep one global order. Price: one small exchange per collective, waited for.
#pragma once

#include <memory>
#include <string>

#include "distributed/core/collective_journal.hpp"
#include "distributed/core/communicator.hpp"

namespace leda::distributed {

class WatchedCommunicator : public Communicator {
 public:
  // Collective where `check_calls` is set. With it every collective may throw ErrorOnAllRanks(communication), naming
  // two ranks and what each called; a root is part of "what".
  WatchedCommunicator(Communicator& watched, CollectiveJournal& journal, bool check_calls);
  // Owns what it wraps, and checks on the first one's channel (nullptr: not at all).
  WatchedCommunicator(std::unique_ptr<Communicator> watched, CollectiveJournal& journal, Communicator* check_channel);
  ~WatchedCommunicator() override;
  WatchedCommunicator(const WatchedCommunicator&) = delete;
  WatchedCommunicator& operator=(const WatchedCommunicator&) = delete;

  int rank() const override { return watched_.rank(); }
  int size() const override { return watched_.size(); }
  int local_rank() const override { return watched_.local_rank(); }
  int local_size() const override { return watched_.local_size(); }

  std::unique_ptr<PendingCollective> start_all_reduce(at::Tensor tensor) override;
  std::unique_ptr<PendingCollective> start_all_gather(at::Tensor part, at::Tensor all) override;
  std::unique_ptr<PendingCollective> start_all_to_all(at::Tensor sent, at::Tensor received) override;
  void broadcast(at::Tensor tensor, int root) override;
  void barrier() override;
  std::unique_ptr<Communicator> duplicate() override;
  std::unique_ptr<Communicator> watch_alike(std::unique_ptr<Communicator> other) override;
  void note(std::string_view progress) override { journal_.note(progress); }
  void label_next(std::string_view label) override { label_ = label; }
  [[noreturn]] void abort(int exit_code) override;

 private:
  // Journal and check of a call that is about to be made; its number.
  std::int64_t begin(std::string_view operation, const at::Tensor* tensor);
  void check_ranks_agree(const CollectiveCall& call, std::int64_t sequence);
  // A call that returns when it is complete.
  template <typename Call>
  void block(std::int64_t sequence, const Call& call);

  std::unique_ptr<Communicator> owned_;  // of all but the first
  Communicator& watched_;
  CollectiveJournal& journal_;
  std::unique_ptr<Communicator> owned_check_channel_;  // of the first one
  Communicator* check_channel_ = nullptr;              // none without the check
  std::string label_;
};

}  // namespace leda::distributed
