#include "tests/support/recording_communicator.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <utility>

namespace leda::test {

using distributed::PendingCollective;

RecordingCommunicator::RecordingCommunicator(distributed::Communicator& target, std::vector<std::string>& record)
    : target_(target), record_(record), channel_("0") {}

RecordingCommunicator::RecordingCommunicator(std::unique_ptr<distributed::Communicator> owned,
                                             std::vector<std::string>& record, std::string channel)
    : owned_(std::move(owned)), target_(*owned_), record_(record), channel_(std::move(channel)) {}

void RecordingCommunicator::note(const std::string& kind, const at::Tensor& tensor) {
  record_.push_back(fmt::format("{} on {}: {} [{}]", kind, channel_, c10::toString(tensor.scalar_type()),
                                fmt::join(tensor.sizes(), ", ")));
}

std::unique_ptr<PendingCollective> RecordingCommunicator::start_all_reduce(at::Tensor tensor) {
  note("all_reduce", tensor);
  return target_.start_all_reduce(std::move(tensor));
}

std::unique_ptr<PendingCollective> RecordingCommunicator::start_all_gather(at::Tensor part, at::Tensor all) {
  note("all_gather", part);
  return target_.start_all_gather(std::move(part), std::move(all));
}

std::unique_ptr<PendingCollective> RecordingCommunicator::start_all_to_all(at::Tensor sent, at::Tensor received) {
  note("all_to_all", sent);
  return target_.start_all_to_all(std::move(sent), std::move(received));
}

void RecordingCommunicator::broadcast(at::Tensor tensor, int root) {
  note(fmt::format("broadcast from {}", root), tensor);
  target_.broadcast(std::move(tensor), root);
}

void RecordingCommunicator::barrier() {
  record_.push_back("barrier on " + channel_);
  target_.barrier();
}

std::unique_ptr<distributed::Communicator> RecordingCommunicator::duplicate() {
  const std::string channel = fmt::format("{}.{}", channel_, ++num_duplicates_);
  return std::unique_ptr<distributed::Communicator>(new RecordingCommunicator(target_.duplicate(), record_, channel));
}

void RecordingCommunicator::abort(int exit_code) {
  target_.abort(exit_code);
  std::_Exit(exit_code);
}

}  // namespace leda::test
