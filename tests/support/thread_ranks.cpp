#include "tests/support/thread_ranks.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>

namespace leda::test {
namespace {

// Thrown in a rank whose partner failed; the partner's exception is the one worth showing.
struct PartnerFailed : std::runtime_error {
  PartnerFailed() : std::runtime_error("another rank failed") {}
};

// Where the ranks' tensors of one collective meet.
struct Meeting {
  std::string call;  // kind, type and shape, to catch ranks that call different things
  std::vector<at::Tensor> parts;
  int num_arrived = 0;
  int num_left = 0;
};

using MeetingKey = std::pair<std::string, std::int64_t>;  // channel, number of the call

class World {
 public:
  explicit World(int size) : size_(size), has_ended_(static_cast<std::size_t>(size), false) {}

  int size() const { return size_; }

  void arrive(const MeetingKey& key, int rank, const std::string& call, const at::Tensor& part) {
    const std::scoped_lock lock(mutex_);
    Meeting& meeting = meetings_[key];
    if (meeting.num_arrived == 0) {
      meeting.call = call;
      meeting.parts.resize(static_cast<std::size_t>(size_));
    } else if (meeting.call != call) {
      throw std::logic_error(fmt::format("rank {} calls {} where another rank calls {}", rank, call, meeting.call));
    }
    meeting.parts[static_cast<std::size_t>(rank)] = part;
    ++meeting.num_arrived;
    changed_.notify_all();
  }

  std::vector<at::Tensor> parts(const MeetingKey& key, int rank) {
    std::unique_lock lock(mutex_);
    Meeting& meeting = meetings_.at(key);
    while (meeting.num_arrived < size_) {
      if (failure_) throw PartnerFailed();
      for (int other = 0; other < size_; ++other) {
        const bool is_missing = !meeting.parts[static_cast<std::size_t>(other)].defined();
        if (is_missing && has_ended_[static_cast<std::size_t>(other)]) {
          throw std::logic_error(
              fmt::format("rank {} has returned while rank {} waits for it in {}", other, rank, meeting.call));
        }
      }
      changed_.wait(lock);
    }
    std::vector<at::Tensor> parts = meeting.parts;
    if (++meeting.num_left == size_) meetings_.erase(key);
    return parts;
  }

  void end(int rank, std::exception_ptr failure) {
    const std::scoped_lock lock(mutex_);
    has_ended_[static_cast<std::size_t>(rank)] = true;
    if (failure && !failure_) failure_ = std::move(failure);
    changed_.notify_all();
  }

  std::exception_ptr failure() const { return failure_; }

 private:
  const int size_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<MeetingKey, Meeting> meetings_;
  std::vector<bool> has_ended_;
  std::exception_ptr failure_;
};

// `complete` turns all ranks' tensors, once they are there, into this rank's result.
using Completion = std::function<void(const std::vector<at::Tensor>& parts)>;

class PendingMeeting : public distributed::PendingCollective {
 public:
  PendingMeeting(World& world, MeetingKey key, int rank, Completion complete)
      : world_(world), key_(std::move(key)), rank_(rank), complete_(std::move(complete)) {}

  void wait() override {
    if (!complete_) return;
    const c10::NoGradGuard no_gradients;
    complete_(world_.parts(key_, rank_));
    complete_ = nullptr;
  }

 private:
  World& world_;
  MeetingKey key_;
  int rank_;
  Completion complete_;
};

class ThreadCommunicator : public distributed::Communicator {
 public:
  ThreadCommunicator(World& world, int rank, std::string channel)
      : world_(world), rank_(rank), channel_(std::move(channel)) {}

  int rank() const override { return rank_; }
  int size() const override { return world_.size(); }
  int local_rank() const override { return rank_; }
  int local_size() const override { return world_.size(); }

  std::unique_ptr<distributed::PendingCollective> start_all_reduce(at::Tensor tensor) override {
    return start("all_reduce", tensor, [tensor](const std::vector<at::Tensor>& parts) {
      tensor.zero_();
      for (const at::Tensor& part : parts) tensor.add_(part);
    });
  }

  std::unique_ptr<distributed::PendingCollective> start_all_gather(at::Tensor part, at::Tensor all) override {
    check_contiguous("all_gather", all);
    return start("all_gather", part, [all](const std::vector<at::Tensor>& parts) { all.copy_(at::stack(parts)); });
  }

  std::unique_ptr<distributed::PendingCollective> start_all_to_all(at::Tensor sent, at::Tensor received) override {
    check_contiguous("all_to_all", received);
    return start("all_to_all", sent, [received, rank = rank_](const std::vector<at::Tensor>& all) {
      for (std::size_t i = 0; i < all.size(); ++i) received[static_cast<std::int64_t>(i)].copy_(all[i][rank]);
    });
  }

  void broadcast(at::Tensor tensor, int root) override {
    start(fmt::format("broadcast from {}", root), tensor, [tensor, root](const std::vector<at::Tensor>& parts) {
      tensor.copy_(parts[static_cast<std::size_t>(root)]);
    })->wait();
  }

  void barrier() override { world_.parts(meet("barrier", at::zeros({1})), rank_); }

  std::unique_ptr<Communicator> duplicate() override {
    return std::make_unique<ThreadCommunicator>(world_, rank_, fmt::format("{}/{}", channel_, num_duplicates_++));
  }

  [[noreturn]] void abort(int exit_code) override {
    throw std::runtime_error(fmt::format("rank {} aborts with exit code {}", rank_, exit_code));
  }

 private:
  static void check_contiguous(const std::string& kind, const at::Tensor& tensor) {
    if (!tensor.is_contiguous()) throw std::logic_error(kind + " of a tensor that is not contiguous");
  }

  std::unique_ptr<distributed::PendingCollective> start(const std::string& kind, const at::Tensor& tensor,
                                                        Completion complete) {
    return std::make_unique<PendingMeeting>(world_, meet(kind, tensor), rank_, std::move(complete));
  }

  MeetingKey meet(const std::string& kind, const at::Tensor& tensor) {
    check_contiguous(kind, tensor);
    const std::string call =
        fmt::format("{} of {} [{}]", kind, c10::toString(tensor.scalar_type()), fmt::join(tensor.sizes(), ", "));
    MeetingKey key{channel_, num_calls_++};
    world_.arrive(key, rank_, call, tensor.detach().clone());
    return key;
  }

  World& world_;
  int rank_;
  std::string channel_;
  std::int64_t num_calls_ = 0;
  int num_duplicates_ = 0;
};

void run_rank(World& world, int rank, const std::function<void(distributed::Communicator&)>& body) {
  at::set_num_threads(1);
  std::exception_ptr failure;
  try {
    ThreadCommunicator communicator(world, rank, "main");
    body(communicator);
  } catch (const PartnerFailed&) {
  } catch (...) {
    failure = std::current_exception();
  }
  world.end(rank, failure);
}

}  // namespace

void run_ranks(int num_ranks, const std::function<void(distributed::Communicator&)>& body) {
  World world(num_ranks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < num_ranks; ++rank) {
    threads.emplace_back([&world, rank, &body] { run_rank(world, rank, body); });
  }
  for (std::thread& thread : threads) thread.join();
  if (world.failure()) std::rethrow_exception(world.failure());
}

}  // namespace leda::test
