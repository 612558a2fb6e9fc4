#include "distributed/mpi_progress.hpp"

#include <ATen/ops/full.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "distributed/mpi_communicator.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::distributed {
namespace {

constexpr double kGivingUpSeconds = 100.0;

// True once every rank but the first has left its mark in the folder. Makes no MPI call.
bool others_are_done(const std::filesystem::path& folder, int num_ranks) {
  const base::Stopwatch stopwatch;
  int num_done = 0;
  while (num_done < num_ranks - 1 && stopwatch.seconds() < kGivingUpSeconds) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    num_done = 0;
    for (int rank = 1; rank < num_ranks; ++rank) num_done += std::filesystem::exists(folder / std::to_string(rank));
  }
  return num_done == num_ranks - 1;
}

// Rank 0 starts its part of a sum and then computes, so to say, until all others have theirs: without the thread they
// would wait for it, and it for them.
TEST(MpiProgress, ASumGoesOnWhileARankComputes) {
  MpiCommunicator communicator(MPI_COMM_WORLD);
  std::unique_ptr<test::TemporaryFolder> folder;
  if (communicator.rank() == 0) folder = std::make_unique<test::TemporaryFolder>();
  const std::filesystem::path marks = broadcast_text(communicator, folder ? folder->path().string() : std::string(), 0);
  constexpr std::int64_t kElements = std::int64_t{1} << 20;
  const at::Tensor tensor = at::full({kElements}, 1.0, at::kFloat);
  const auto pending = communicator.start_all_reduce(tensor);
  if (communicator.rank() == 0) {
    EXPECT_TRUE(others_are_done(marks, communicator.size()));
  }
  pending->wait();
  EXPECT_EQ(tensor.sum().item<double>(), communicator.size() * static_cast<double>(kElements));
  if (communicator.rank() != 0) std::ofstream(marks / std::to_string(communicator.rank())) << "done";
  communicator.barrier();
}

TEST(MpiProgress, NeedsMayBeMovedAndEndInAnyOrder) {
  MpiProgress progress(MPI_COMM_WORLD);
  EXPECT_TRUE(progress.has_thread());
  std::vector<MpiProgress::Need> needs;
  for (int i = 0; i < 3; ++i) needs.emplace_back(progress);
  MpiProgress::Need moved = std::move(needs.front());
  needs.clear();
  moved = {};
  const MpiProgress::Need again(progress);
}

}  // namespace
}  // namespace leda::distributed
