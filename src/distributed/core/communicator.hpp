// What ranks say to each other, on tensors. Every call is collective: all ranks make the same calls in the same order
// with equal shapes and types. Tensors are contiguous; a rank may hold none of the samples, but never skips a call.
// Implementations: SingleProcessCommunicator, MpiCommunicator, NcclCommunicator (device memory), DeviceCommunicator
// (both kinds of memory); ThreadCommunicator in the tests. A communicator lives in main and outlives its users; it is
// used from one thread (autograd's hooks run on the thread that called backward).
//
// Sums are taken in float64, float32, bfloat16, int64 and uint8; a bfloat16 sum is rounded after every addition, in an
// order that the implementation chooses (GradientSynchronizer's wire format rounds twice only).
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace leda::distributed {

// A collective under way. It keeps the tensor alive; nobody touches the values until wait() has returned. Destroying it
// before that is for unwinding only: the result is lost.
class PendingCollective {
 public:
  virtual ~PendingCollective() = default;
  virtual void wait() = 0;
};

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Rank among, and number of, the ranks on this host.
  virtual int local_rank() const = 0;
  virtual int local_size() const = 0;

  // Replaces `tensor` on every rank by the sum over ranks.
  virtual std::unique_ptr<PendingCollective> start_all_reduce(at::Tensor tensor) = 0;
  // All ranks' `part`, stacked by rank into `all`: [size, ...]. Any type.
  virtual std::unique_ptr<PendingCollective> start_all_gather(at::Tensor part, at::Tensor all) = 0;
  // Row r of `sent` goes to rank r; row r of `received` comes from it. Both [size, ...], not the same memory. Any type.
  virtual std::unique_ptr<PendingCollective> start_all_to_all(at::Tensor sent, at::Tensor received) = 0;
  // Replaces `tensor` on every rank by rank `root`'s. Any type.
  virtual void broadcast(at::Tensor tensor, int root) = 0;
  virtual void barrier() = 0;
  // A communicator of the same ranks whose calls never mix with this one's: in host memory order is kept within each,
  // not between them; on devices all share one order (NcclCommunicator). Collective. Must not outlive this one.
  virtual std::unique_ptr<Communicator> duplicate() = 0;
  // For whoever watches this rank (WatchedCommunicator); nothing where nobody does. Not collective.
  // A heartbeat between collectives, "checkpoint, step 40"; ranks may say different things.
  virtual void note(std::string_view) {}
  // Goes with this communicator's next collective, "bucket 3, step 41"; the same on every rank.
  virtual void label_next(std::string_view) {}
  // `other`, of the same ranks, watched as this one is: same journal, same checks. Must not outlive this one.
  virtual std::unique_ptr<Communicator> watch_alike(std::unique_ptr<Communicator> other) { return other; }
  // Ends the whole job with this exit code, now. For a rank that cannot go on.
  [[noreturn]] virtual void abort(int exit_code) = 0;
};

// The same, started and waited for.
void all_reduce(Communicator& communicator, at::Tensor tensor);
void all_to_all(Communicator& communicator, at::Tensor sent, at::Tensor received);
// All ranks' tensors of equal shape, stacked by rank: [size, ...]. Contiguous or not.
at::Tensor all_gather(Communicator& communicator, const at::Tensor& tensor);
// Texts of any length, by rank.
std::vector<std::string> all_gather_texts(Communicator& communicator, const std::string& text);
std::string broadcast_text(Communicator& communicator, const std::string& text, int root);

}  // namespace leda::distributed
