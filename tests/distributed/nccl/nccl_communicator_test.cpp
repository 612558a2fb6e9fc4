// What the contract suite cannot say: how NcclCommunicator treats streams, threads, devices and mistakes.
#include "distributed/nccl_communicator.hpp"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <optional>
#include <thread>
#include <vector>

#include "base/error.hpp"
#include "distributed/mpi_communicator.hpp"
#include "tests/distributed/fake_gpu/fake_gpu.hpp"
#include "tests/support/refusal.hpp"

namespace leda::distributed {
namespace {

using test::fake_gpu::Faults;
using test::fake_gpu::Machine;

// A machine and a connected communicator, ended in order; whatever the fake has to say against us fails the test.
class NcclTest : public testing::Test {
 protected:
  void connect(const Faults& faults = {}) {
    machine_.emplace(MPI_COMM_WORLD, test::fake_gpu::MachineOptions{.faults = faults});
    control_.emplace(MPI_COMM_WORLD);
    nccl_.emplace(*control_, control_->local_rank(), DeviceOptions{});
  }
  void TearDown() override {
    nccl_.reset();
    control_.reset();
    if (!machine_) return;
    for (const std::string& violation : machine_->violations()) ADD_FAILURE() << violation;
    for (const std::string& leftover : machine_->leftovers()) ADD_FAILURE() << leftover;
    machine_.reset();
  }
  void synchronise() { ASSERT_EQ(cudaStreamSynchronize(machine_->compute_stream()), cudaSuccess); }

  std::optional<Machine> machine_;
  std::optional<MpiCommunicator> control_;
  std::optional<NcclCommunicator> nccl_;
};

TEST_F(NcclTest, NothingHappensOnTheHostUntilTheComputeStreamIsWaitedFor) {
  connect();
  const at::Tensor tensor = at::full({4}, 1.0, at::kFloat);
  nccl_->start_all_reduce(tensor)->wait();
  EXPECT_TRUE(tensor.equal(at::full({4}, 1.0, at::kFloat)));
  synchronise();
  EXPECT_TRUE(tensor.equal(at::full({4}, nccl_->size(), at::kFloat)));
}

// The device may still be at it when the communicator's last user lets go.
TEST_F(NcclTest, TheEndWaitsForCollectivesThatOnlyTheDeviceWaitsFor) {
  connect();
  const at::Tensor tensor = at::full({4}, 1.0, at::kFloat);
  nccl_->start_all_reduce(tensor)->wait();
  EXPECT_TRUE(tensor.equal(at::full({4}, 1.0, at::kFloat)));
  const int num_ranks = nccl_->size();
  nccl_.reset();
  EXPECT_TRUE(tensor.equal(at::full({4}, num_ranks, at::kFloat)));
}

TEST_F(NcclTest, AnyThreadMayStartACollective) {
  connect();
  const at::Tensor tensor = at::full({4}, 1.0, at::kFloat);
  std::unique_ptr<PendingCollective> pending;
  std::thread([&] { pending = nccl_->start_all_reduce(tensor); }).join();
  std::thread([&] { pending->wait(); }).join();
  synchronise();
  EXPECT_TRUE(tensor.equal(at::full({4}, nccl_->size(), at::kFloat)));
}

// A tensor that is let go of returns its memory to the compute stream, whose next operation may write there.
TEST_F(NcclTest, MemoryOfACollectiveThatNobodyWaitsForComesBackBehindIt) {
  connect();
  std::vector<float> memory(1000, 1.0f);
  { const auto pending = nccl_->start_all_reduce(at::from_blob(memory.data(), {1000}, at::kFloat)); }
  machine_->launch_write(memory.data(), 4000, [] {});
  synchronise();
}

TEST_F(NcclTest, ADuplicateSharesTheOneOrderOfCollectives) {
  connect();
  const auto other = nccl_->duplicate();
  const at::Tensor a = at::full({2}, 1, at::kLong);
  const at::Tensor b = at::full({3}, 2, at::kLong);
  const auto pending_a = nccl_->start_all_reduce(a);
  const auto pending_b = other->start_all_reduce(b);
  EXPECT_EQ(machine_->num_collectives(), 2);
  pending_b->wait();
  pending_a->wait();
  synchronise();
  EXPECT_TRUE(a.equal(at::full({2}, nccl_->size(), at::kLong)));
  EXPECT_TRUE(b.equal(at::full({3}, 2 * nccl_->size(), at::kLong)));
}

TEST_F(NcclTest, RanksMayConnectAtDifferentTimes) {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  connect({.init_polls = rank == 0 ? 1 : 200});
  const at::Tensor tensor = at::full({4}, 1.0, at::kFloat);
  all_reduce(*nccl_, tensor);
  synchronise();
  EXPECT_TRUE(tensor.equal(at::full({4}, nccl_->size(), at::kFloat)));
}

TEST_F(NcclTest, ACallInProgressReachesTheStreamBeforeItsEndIsMarked) {
  connect({.calls_in_progress = 5});
  const at::Tensor tensor = at::full({4}, 1.0, at::kFloat);
  all_reduce(*nccl_, tensor);
  machine_->launch_read(tensor.const_data_ptr(), tensor.nbytes());
  synchronise();
  EXPECT_TRUE(tensor.equal(at::full({4}, nccl_->size(), at::kFloat)));
}

TEST_F(NcclTest, RefusesWhatItCannotSum) {
  connect();
  EXPECT_THROW(nccl_->start_all_reduce(at::zeros({2}, at::kBool)), std::logic_error);
  EXPECT_THROW(nccl_->start_all_reduce(at::zeros({2, 3}, at::kFloat).t()), std::logic_error);
  EXPECT_EQ(machine_->num_collectives(), 0);
}

TEST_F(NcclTest, AFailingCallIsAnErrorWithItsReason) {
  connect({.failing_call = 1, .call_result = ncclSystemError});
  const at::Tensor tensor = at::full({4}, 1.0, at::kFloat);
  all_reduce(*nccl_, tensor);
  synchronise();
  const base::Error error = test::refusal_of(base::ExitCode::communication, [&] { all_reduce(*nccl_, tensor); });
  EXPECT_NE(error.text().what.find("all_reduce of 4 x Float"), std::string::npos) << error.what();
  EXPECT_NE(error.text().value.find("unhandled system error"), std::string::npos) << error.what();
  EXPECT_NE(error.text().value.find("a fault of the test"), std::string::npos) << error.what();
}

// Makes the connection and returns why it failed.
base::ErrorText connection_error(const test::fake_gpu::MachineOptions& machine_options, const DeviceOptions& options,
                                 int device_index) {
  Machine machine(MPI_COMM_WORLD, machine_options);
  const base::Error error = test::refusal_of(base::ExitCode::communication, [&] {
    MpiCommunicator control(MPI_COMM_WORLD);
    NcclCommunicator communicator(control, device_index, options);
  });
  EXPECT_TRUE(machine.leftovers().empty());
  return error.text();
}

int world_rank() {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

TEST(NcclConnection, AFailedStartIsAnErrorAndLeavesNothing) {
  const auto text = connection_error({.faults = {.init_result = ncclSystemError}}, {}, world_rank());
  EXPECT_NE(text.what.find("connecting the GPUs"), std::string::npos) << text.what;
  EXPECT_NE(text.value.find("unhandled system error"), std::string::npos) << text.value;
}

TEST(NcclConnection, AStartWithoutEndIsGivenUp) {
  const auto text = connection_error({.faults = {.init_polls = -1}}, {.init_timeout_seconds = 0.2}, world_rank());
  EXPECT_NE(text.what.find("still under way after 0.2 s"), std::string::npos) << text.what;
}

TEST(NcclConnection, ADeviceThatIsNotThereIsAnError) {
  const auto text = connection_error({}, {}, 99);
  EXPECT_NE(text.what.find("cudaSetDevice"), std::string::npos) << text.what;
  EXPECT_NE(text.value.find("invalid device ordinal"), std::string::npos) << text.value;
}

}  // namespace
}  // namespace leda::distributed
