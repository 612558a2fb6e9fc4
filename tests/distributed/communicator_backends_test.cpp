#include "tests/distributed/communicator_backends.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

#include "distributed/core/single_process_communicator.hpp"
#include "distributed/mpi/mpi_communicator.hpp"
#include "tests/support/thread_ranks.hpp"

namespace leda::test {

using distributed::Communicator;
using Body = std::function<void(Communicator&)>;

std::vector<CommunicatorBackend> local_backends() {
  std::vector<CommunicatorBackend> backends{{"single_process", [](const Body& body) {
                                               distributed::SingleProcessCommunicator communicator;
                                               body(communicator);
                                             }}};
  for (const int num_ranks : {2, 3, 4, 5}) {
    backends.push_back({.name = "threads_" + std::to_string(num_ranks),
                        .run = [num_ranks](const Body& body) { run_ranks(num_ranks, body); },
                        .carries_large_tensors = num_ranks == 2});
  }
  return backends;
}

std::vector<CommunicatorBackend> mpi_backends() {
  const auto backend_of = [](std::int64_t max_count) {
    return [max_count](const Body& body) {
      distributed::MpiCommunicator communicator(MPI_COMM_WORLD, max_count);
      body(communicator);
    };
  };
  return {{"mpi", backend_of(1 << 30)}, {"mpi_in_pieces_of_3", backend_of(3), false}};
}

namespace {

TEST(ThreadRanks, TheFirstFailureIsRethrownAndFreesTheOthers) {
  EXPECT_THROW(run_ranks(3,
                         [](Communicator& communicator) {
                           if (communicator.rank() == 1) throw std::out_of_range("rank 1");
                           communicator.barrier();
                         }),
               std::out_of_range);
}

TEST(ThreadRanks, ARankThatReturnsEarlyIsAnErrorInsteadOfAHang) {
  EXPECT_THROW(run_ranks(2,
                         [](Communicator& communicator) {
                           if (communicator.rank() == 0) communicator.barrier();
                         }),
               std::logic_error);
}

TEST(ThreadRanks, UnlikeCallsAreAnError) {
  EXPECT_THROW(run_ranks(2,
                         [](Communicator& communicator) {
                           if (communicator.rank() == 0) {
                             communicator.barrier();
                           } else {
                             distributed::all_gather_texts(communicator, "text");
                           }
                         }),
               std::logic_error);
}

}  // namespace
}  // namespace leda::test
