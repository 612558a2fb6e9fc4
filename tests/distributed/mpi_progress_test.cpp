#include "distributed/mpi/mpi_progress.hpp"

#include <ATen/ops/full.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "distributed/mpi/mpi_communicator.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

// Questions about requests that were put to MPI in this process.
std::atomic<std::int64_t> num_questions{0};

}  // namespace

// Counted on their way: every function of MPI has a second name, PMPI_*, for such wrappers (MPI standard, "Profiling
// Interface").
extern "C" int MPI_Request_get_status(MPI_Request request, int* is_complete, MPI_Status* status) {
  num_questions.fetch_add(1, std::memory_order_relaxed);
  return PMPI_Request_get_status(request, is_complete, status);
}

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

// A sum over all ranks without a communicator of ours, so that the thread is looked at from outside.
struct Sum {
  explicit Sum(std::int64_t num_elements) : numbers(static_cast<std::size_t>(num_elements), 1.0) {
    MPI_Iallreduce(MPI_IN_PLACE, numbers.data(), static_cast<int>(num_elements), MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD,
                   &request);
  }
  void wait() { MPI_Wait(&request, MPI_STATUS_IGNORE); }

  std::vector<double> numbers;
  MPI_Request request = MPI_REQUEST_NULL;
};

// True once the thread has stopped asking. Makes no MPI call.
bool falls_asleep() {
  const base::Stopwatch stopwatch;
  std::int64_t before = -1;
  while (stopwatch.seconds() < kGivingUpSeconds) {
    const std::int64_t now = num_questions.load();
    if (now == before) return true;
    before = now;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
  return false;
}

// Of gradients that are through early in backward nobody asks again until its end.
TEST(MpiProgress, TheThreadSleepsOnceAllIsThroughThoughNobodyWaitedYet) {
  MpiProgress progress;
  ASSERT_TRUE(progress.has_thread());
  const std::int64_t before = num_questions.load();
  Sum first(1 << 20);
  MpiProgress::Need first_need(progress, {first.request});
  Sum second(1 << 16);
  MpiProgress::Need second_need(progress, {second.request});
  EXPECT_TRUE(falls_asleep());
  const std::int64_t asked = num_questions.load();
  EXPECT_GE(asked, before + 2);
  first_need = {};
  second_need = {};
  first.wait();
  second.wait();
  EXPECT_EQ(num_questions.load(), asked);
  EXPECT_EQ(first.numbers.back(), second.numbers.front());
  MPI_Barrier(MPI_COMM_WORLD);
}

// What another rank keeps waiting is asked about until its need ends, and no longer.
TEST(MpiProgress, TheThreadAsksWhileARankIsMissing) {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MpiProgress progress;
  MPI_Request barrier = MPI_REQUEST_NULL;
  if (rank != 0) MPI_Ibarrier(MPI_COMM_WORLD, &barrier);
  if (rank != 0) {
    const std::int64_t before = num_questions.load();
    MpiProgress::Need need(progress, {barrier});
    const base::Stopwatch stopwatch;
    while (num_questions.load() < before + 20 && stopwatch.seconds() < kGivingUpSeconds) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_GE(num_questions.load(), before + 20);
    need = {};
    EXPECT_TRUE(falls_asleep());
  }
  int is_rank_awaited = 1;
  if (rank == 0) {
    int size = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    for (int other = 1; other < size; ++other) {
      MPI_Recv(&is_rank_awaited, 1, MPI_INT, other, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    }
    MPI_Ibarrier(MPI_COMM_WORLD, &barrier);
  } else {
    MPI_Send(&is_rank_awaited, 1, MPI_INT, 0, 0, MPI_COMM_WORLD);
  }
  MPI_Wait(&barrier, MPI_STATUS_IGNORE);
}

TEST(MpiProgress, NeedsMayBeMovedAndEndInAnyOrder) {
  MpiProgress progress;
  std::vector<Sum> sums;
  sums.reserve(3);
  for (int i = 0; i < 3; ++i) sums.emplace_back(1 << 14);
  std::vector<MpiProgress::Need> needs;
  for (const Sum& sum : sums) needs.emplace_back(progress, std::vector{sum.request});
  MpiProgress::Need moved = std::move(needs.front());
  needs.clear();
  sums[2].wait();
  sums[1].wait();
  moved = {};
  sums[0].wait();
  EXPECT_TRUE(falls_asleep());
}

}  // namespace
}  // namespace leda::distributed
