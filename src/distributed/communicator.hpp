// What ranks say to each other, on tensors. Every call is collective: all ranks make the same calls in the same order
// with equal shapes and types. Tensors are contiguous; a rank may hold none of the samples, but never skips a call.
// Implementations: SingleProcessCommunicator, MpiCommunicator; ThreadCommunicator in the tests. A communicator lives in
// main and outlives its users; it is used from one thread (autograd's hooks run on the thread that called backward).
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
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

  // Replaces `tensor` on every rank by the sum over ranks. Types: float64, float32, int64.
  virtual std::unique_ptr<PendingCollective> start_all_reduce(at::Tensor tensor) = 0;
  // Replaces `tensor` on every rank by rank `root`'s. Any type.
  virtual void broadcast(at::Tensor tensor, int root) = 0;
  // All ranks' tensors of equal shape, stacked: [size, ...]. Any type.
  virtual at::Tensor all_gather(const at::Tensor& tensor) = 0;
  virtual void barrier() = 0;
  // A communicator of the same ranks whose calls never mix with this one's: order is kept within each, not between
  // them. Collective. Must not outlive this one.
  virtual std::unique_ptr<Communicator> duplicate() = 0;
  // Ends the whole job with this exit code, now. For a rank that cannot go on.
  [[noreturn]] virtual void abort(int exit_code) = 0;
};

void all_reduce(Communicator& communicator, at::Tensor tensor);
// Texts of any length, by rank.
std::vector<std::string> all_gather_texts(Communicator& communicator, const std::string& text);
std::string broadcast_text(Communicator& communicator, const std::string& text, int root);

}  // namespace leda::distributed
