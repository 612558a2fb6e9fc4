// The fake itself: it says so when it is used wrongly. Without this, silence would prove nothing.
#include "tests/distributed/fake_gpu/fake_gpu.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace leda::test::fake_gpu {
namespace {

class FakeGpu : public testing::Test {
 protected:
  FakeGpu() {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
  }

  // A communicator made and used right, and its stream.
  void connect() {
    ASSERT_EQ(cudaSetDevice(rank_), cudaSuccess);
    ASSERT_EQ(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, -5), cudaSuccess);
    ncclUniqueId id = {};
    if (rank_ == 0) ncclGetUniqueId(&id);
    MPI_Bcast(&id, sizeof id, MPI_BYTE, 0, MPI_COMM_WORLD);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ASSERT_EQ(ncclCommInitRankConfig(&communicator_, size_, id, rank_, &config), ncclInProgress);
    settle();
    MPI_Barrier(MPI_COMM_WORLD);
  }
  void settle() {
    ncclResult_t state = ncclInProgress;
    while (state == ncclInProgress) ASSERT_EQ(ncclCommGetAsyncError(communicator_, &state), ncclSuccess);
    ASSERT_EQ(state, ncclSuccess);
  }
  ncclResult_t sum(std::size_t count, ncclDataType_t type = ncclFloat32) {
    return ncclAllReduce(values_.data(), values_.data(), count, type, ncclSum, communicator_, stream_);
  }
  void end() {
    cudaStreamSynchronize(stream_);
    MPI_Barrier(MPI_COMM_WORLD);
    ncclCommFinalize(communicator_);
    settle();
    ncclCommDestroy(communicator_);
    cudaStreamDestroy(stream_);
  }
  bool reports(const std::string& text) const {
    const auto violations = machine_.violations();
    return std::any_of(violations.begin(), violations.end(),
                       [&](const std::string& violation) { return violation.find(text) != std::string::npos; });
  }

  int rank_ = 0;
  int size_ = 1;
  Machine machine_{MPI_COMM_WORLD, {}};
  ncclComm_t communicator_ = nullptr;
  cudaStream_t stream_ = nullptr;
  std::array<float, 64> values_{};
};

TEST_F(FakeGpu, SaysNothingAboutProperUse) {
  connect();
  values_.fill(1.0f);
  EXPECT_EQ(sum(64), ncclSuccess);
  EXPECT_EQ(values_[0], 1.0f);
  cudaStreamSynchronize(stream_);
  EXPECT_EQ(values_[63], static_cast<float>(size_));
  end();
  EXPECT_TRUE(machine_.violations().empty());
  EXPECT_TRUE(machine_.leftovers().empty());
}

TEST_F(FakeGpu, SeesAReadBeforeTheEventThatFillsTheBuffer) {
  connect();
  machine_.launch_write(values_.data(), sizeof values_, [] {});
  sum(64);
  EXPECT_TRUE(reports("reads a buffer without waiting for the compute stream, which writes it"));
  end();
}

TEST_F(FakeGpu, SeesAResultReadTooEarlyAndABufferWrittenTooEarly) {
  connect();
  sum(32);
  machine_.launch_read(values_.data(), 4);
  EXPECT_TRUE(reports("the compute stream reads a buffer without waiting for collective 0"));
  machine_.launch_write(values_.data() + 31, 4, [] {});
  EXPECT_TRUE(reports("the compute stream writes a buffer without waiting for collective 0"));
  const std::size_t num_violations = machine_.violations().size();
  machine_.launch_write(values_.data() + 32, 4, [] {});  // beyond it
  EXPECT_EQ(machine_.violations().size(), num_violations);
  end();
}

TEST_F(FakeGpu, NamesWhatDiffersBetweenRanks) {
  if (size_ == 1) return;
  connect();
  sum(rank_ == 1 ? 3 : 4);
  cudaStreamSynchronize(stream_);
  EXPECT_TRUE(reports("collectives differ in count: 4 on rank 0, 3 on rank 1"));
  sum(4, rank_ == 1 ? ncclInt64 : ncclFloat64);
  cudaStreamSynchronize(stream_);
  EXPECT_TRUE(reports("collectives differ in type"));
  if (rank_ == 1) {
    ncclBroadcast(values_.data(), values_.data(), 4, ncclFloat32, 0, communicator_, stream_);
  } else {
    sum(4);
  }
  cudaStreamSynchronize(stream_);
  EXPECT_TRUE(reports("collectives differ in kind"));
  end();
}

TEST_F(FakeGpu, SeesAMessageThatNobodyExpects) {
  connect();
  ncclGroupStart();
  ncclSend(values_.data(), 4, ncclFloat32, (rank_ + 1) % size_, communicator_, stream_);
  ncclRecv(values_.data() + 8, 2, ncclFloat32, (rank_ + size_ - 1) % size_, communicator_, stream_);
  ncclGroupEnd();
  cudaStreamSynchronize(stream_);
  EXPECT_TRUE(reports("rank 0 sends 16 bytes to rank"));
  EXPECT_TRUE(reports("which expects 8"));
  end();
}

TEST_F(FakeGpu, SeesCallsAfterTheEnd) {
  connect();
  end();
  EXPECT_EQ(sum(4), ncclInvalidArgument);
  EXPECT_TRUE(reports("ncclAllReduce after the communicator was destroyed"));
}

TEST_F(FakeGpu, SeesWhatIsLeftBehind) {
  connect();
  cudaEvent_t event = nullptr;
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  ncclGroupStart();
  const std::string prefix = "rank " + std::to_string(rank_);
  EXPECT_EQ(machine_.leftovers(),
            (std::vector<std::string>{prefix + ": 1 streams left behind", prefix + ": 1 events left behind",
                                      prefix + ": 1 communicators left behind", prefix + ": 1 groups left behind"}));
  ncclGroupEnd();
  cudaEventDestroy(event);
  end();
}

TEST_F(FakeGpu, SeesOneDeviceTakenTwice) {
  if (size_ == 1) return;
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
  ncclUniqueId id = {};
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclCommInitRankConfig(&communicator_, size_, id, rank_, &config);
  ncclResult_t state = ncclInProgress;
  while (state == ncclInProgress) ncclCommGetAsyncError(communicator_, &state);
  EXPECT_EQ(state, ncclInvalidUsage);
  EXPECT_TRUE(reports("Duplicate GPU detected : rank 0 and rank 1"));
}

}  // namespace
}  // namespace leda::test::fake_gpu
