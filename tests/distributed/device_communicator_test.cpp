#include "distributed/core/device_communicator.hpp"

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "distributed/core/device_ranks.hpp"
#include "distributed/core/single_process_communicator.hpp"
#include "tests/support/refusal.hpp"

namespace leda::distributed {
namespace {

// Notes in one list who was asked for what.
class NamedCommunicator : public SingleProcessCommunicator {
 public:
  NamedCommunicator(std::string name, std::vector<std::string>& calls) : name_(std::move(name)), calls_(calls) {}

  std::unique_ptr<PendingCollective> start_all_reduce(at::Tensor) override { return note("all_reduce"); }
  std::unique_ptr<PendingCollective> start_all_gather(at::Tensor, at::Tensor) override { return note("all_gather"); }
  std::unique_ptr<PendingCollective> start_all_to_all(at::Tensor, at::Tensor) override { return note("all_to_all"); }
  void broadcast(at::Tensor, int) override { note("broadcast"); }
  void barrier() override { note("barrier"); }
  std::unique_ptr<Communicator> duplicate() override {
    return std::make_unique<NamedCommunicator>(name_ + "'", calls_);
  }

 private:
  std::unique_ptr<PendingCollective> note(const char* call) {
    calls_.push_back(name_ + " " + call);
    return nullptr;
  }

  std::string name_;
  std::vector<std::string>& calls_;
};

void call_everything(Communicator& communicator, const at::Tensor& tensor) {
  communicator.start_all_reduce(tensor);
  communicator.start_all_gather(tensor, tensor);
  communicator.start_all_to_all(tensor, tensor);
  communicator.broadcast(tensor, 0);
  communicator.barrier();
}

TEST(DeviceCommunicator, HostTensorsNeverMeetNcclAndDeviceTensorsNeverMeetMpi) {
  std::vector<std::string> calls;
  NamedCommunicator mpi("mpi", calls);
  DeviceCommunicator communicator(mpi, std::make_unique<NamedCommunicator>("nccl", calls));
  const at::Tensor on_host = at::empty({1, 2});
  const at::Tensor on_device = at::empty({1, 2}, at::TensorOptions().device(at::kMeta));

  call_everything(communicator, on_host);
  EXPECT_EQ(calls, (std::vector<std::string>{"mpi all_reduce", "mpi all_gather", "mpi all_to_all", "mpi broadcast",
                                             "mpi barrier"}));
  calls.clear();
  call_everything(communicator, on_device);
  EXPECT_EQ(calls, (std::vector<std::string>{"nccl all_reduce", "nccl all_gather", "nccl all_to_all", "nccl broadcast",
                                             "mpi barrier"}));
  calls.clear();
  const auto duplicate = communicator.duplicate();
  duplicate->start_all_reduce(on_host);
  duplicate->start_all_reduce(on_device);
  EXPECT_EQ(calls, (std::vector<std::string>{"mpi' all_reduce", "nccl' all_reduce"}));
}

TEST(ConnectDevices, IsRefusedByAProgramWithoutNccl) {
  SingleProcessCommunicator control;
  const auto error =
      test::refusal_of<base::ErrorOnAllRanks>(base::ExitCode::options, [&] { connect_devices(control, {}); });
  EXPECT_NE(error.text().remedy.find("cuda preset"), std::string::npos);
}

}  // namespace
}  // namespace leda::distributed
