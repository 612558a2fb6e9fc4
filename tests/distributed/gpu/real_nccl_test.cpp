// The real NCCL and CUDA runtime on a machine without a GPU: a clear error, soon, on every rank.
#include <gtest/gtest.h>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "distributed/mpi_communicator.hpp"
#include "distributed/nccl_bootstrap.hpp"
#include "distributed/nccl_communicator.hpp"
#include "tests/support/refusal.hpp"

namespace leda::distributed {
namespace {

class RealNccl : public testing::Test {
 protected:
  void SetUp() override {
    int num_devices = 0;
    if (cudaGetDeviceCount(&num_devices) == cudaSuccess && num_devices > 0) {
      GTEST_SKIP() << "A GPU IS HERE: the error of a machine without one was not seen";
    }
  }

  static base::ErrorText error_of(const std::function<void(MpiCommunicator&)>& call) {
    MpiCommunicator control(MPI_COMM_WORLD);
    const base::Stopwatch stopwatch;
    const base::Error error = test::refusal_of(base::ExitCode::communication, [&] { call(control); });
    EXPECT_LT(stopwatch.seconds(), 20.0);
    return error.text();
  }
};

TEST_F(RealNccl, ItsInitErrorBecomesAMessage) {
  const auto text = error_of([](MpiCommunicator& control) { connect_ranks(control, 15.0); });
  EXPECT_NE(text.what.find("ncclCommInitRank"), std::string::npos) << text.what;
  EXPECT_NE(text.value.find("unhandled cuda error"), std::string::npos) << text.value;
  EXPECT_NE(text.value.find("CUDA driver version is insufficient"), std::string::npos) << text.value;
  EXPECT_FALSE(text.remedy.empty());
}

TEST_F(RealNccl, ADeviceThatCannotBeChosenIsAMessage) {
  const auto text = error_of([](MpiCommunicator& control) { NcclCommunicator communicator(control, 0, {}); });
  EXPECT_NE(text.what.find("cudaSetDevice"), std::string::npos) << text.what;
  EXPECT_NE(text.value.find("CUDA driver version is insufficient"), std::string::npos) << text.value;
}

}  // namespace
}  // namespace leda::distributed
