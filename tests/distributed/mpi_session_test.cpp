#include "distributed/mpi_session.hpp"

#include <ATen/ops/empty.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <cstdlib>
#include <optional>
#include <string>

#include "base/error.hpp"
#include "distributed/make_communicator.hpp"
#include "distributed/mpi_communicator.hpp"
#include "distributed/single_process_communicator.hpp"
#include "tests/support/refusal.hpp"

namespace leda::distributed {
namespace {

TEST(MpiSession, UsesAndLeavesAnMpiThatOthersStarted) {
  {
    const MpiSession session;
    int size = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    EXPECT_EQ(session.size(), size);
    const auto communicator = make_communicator(session);
    EXPECT_EQ(communicator->rank(), session.rank());
    EXPECT_EQ(communicator->size(), size);
    const bool is_single = dynamic_cast<SingleProcessCommunicator*>(communicator.get()) != nullptr;
    EXPECT_EQ(is_single, size == 1);
  }
  int is_finalized = 1;
  MPI_Finalized(&is_finalized);
  EXPECT_EQ(is_finalized, 0);
}

TEST(MpiCommunicator, RefusesDeviceTensorsByName) {
  MpiCommunicator communicator(MPI_COMM_WORLD);
  const base::Error error = test::refusal_of(base::ExitCode::communication, [&] {
    communicator.start_all_reduce(at::empty({2}, at::TensorOptions().device(at::kMeta)));
  });
  EXPECT_NE(error.text().what.find("meta"), std::string::npos);
  EXPECT_NE(error.text().why.find("NCCL"), std::string::npos);
}

TEST(MpiCommunicator, RefusesWhatItCannotSum) {
  MpiCommunicator communicator(MPI_COMM_WORLD);
  EXPECT_THROW(communicator.start_all_reduce(at::empty({2}, at::kBool)), std::logic_error);
  EXPECT_THROW(communicator.start_all_reduce(at::empty({2, 3}, at::kFloat).t()), std::logic_error);
}

TEST(MpiCommunicator, AnMpiFailureIsAnErrorWithItsText) {
  MpiCommunicator communicator(MPI_COMM_WORLD);
  const base::Error error = test::refusal_of(base::ExitCode::communication,
                                             [&] { communicator.broadcast(at::empty({2}, at::kFloat), 1000000); });
  // Open MPI says MPI_ERR_ROOT, MPICH "Invalid root".
  EXPECT_THAT(error.text().value, testing::AnyOf(testing::HasSubstr("ROOT"), testing::HasSubstr("root")));
}

// Puts variables of the launcher in place for one test.
class LaunchedWorld : public testing::Test {
 protected:
  ~LaunchedWorld() override {
    set("OMPI_COMM_WORLD_SIZE", old_mpirun_);
    set("SLURM_NTASKS", old_slurm_);
    set(kAlgorithm, old_algorithm_);
  }
  static constexpr const char* kAlgorithm = "OMPI_MCA_coll_libnbc_iallreduce_algorithm";

  static std::optional<std::string> get(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  }
  static void set(const char* name, const std::optional<std::string>& value) {
    if (value) {
      setenv(name, value->c_str(), 1);
    } else {
      unsetenv(name);
    }
  }
  static void launch(const std::optional<std::string>& mpirun, const std::optional<std::string>& slurm) {
    set("OMPI_COMM_WORLD_SIZE", mpirun);
    set("SLURM_NTASKS", slurm);
  }

 private:
  std::optional<std::string> old_mpirun_ = get("OMPI_COMM_WORLD_SIZE");
  std::optional<std::string> old_slurm_ = get("SLURM_NTASKS");
  std::optional<std::string> old_algorithm_ = get(kAlgorithm);
};

TEST_F(LaunchedWorld, OneOfManySingletonsIsRefused) {
  launch(std::nullopt, "4");
  const base::Error error = test::refusal_of(base::ExitCode::communication, [] { check_launched_world(1); });
  EXPECT_NE(error.text().what.find("SLURM_NTASKS announces 4 ranks"), std::string::npos);
  launch("2", std::nullopt);
  EXPECT_THROW(check_launched_world(1), base::Error);
}

TEST_F(LaunchedWorld, OneRankOnPurposeAndManyRanksPass) {
  launch(std::nullopt, std::nullopt);
  EXPECT_NO_THROW(check_launched_world(1));
  launch("1", "4");
  EXPECT_NO_THROW(check_launched_world(1));
  launch(std::nullopt, "not a number");
  EXPECT_NO_THROW(check_launched_world(1));
  launch("4", "4");
  EXPECT_NO_THROW(check_launched_world(4));
}

TEST_F(LaunchedWorld, SumsGoRoundARingAmongFewRanksUnlessToldOtherwise) {
  const auto algorithm_of = [](const std::optional<std::string>& num_ranks, const std::optional<std::string>& before) {
    launch(num_ranks, std::nullopt);
    set(kAlgorithm, before);
    prefer_ring_sums();
    return get(kAlgorithm);
  };
  EXPECT_EQ(algorithm_of("4", std::nullopt), "1");
  EXPECT_EQ(algorithm_of("64", std::nullopt), "1");
  EXPECT_EQ(algorithm_of("65", std::nullopt), std::nullopt);
  EXPECT_EQ(algorithm_of(std::nullopt, std::nullopt), std::nullopt);
  EXPECT_EQ(algorithm_of("4", "2"), "2");
}

}  // namespace
}  // namespace leda::distributed
