#include "distributed/core/watched_communicator.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "tests/distributed/communicator_backends.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/thread_ranks.hpp"

namespace leda::distributed {
namespace {

using testing::HasSubstr;

class WatchedCommunicatorIn : public testing::TestWithParam<test::CommunicatorBackend> {};

// Every call goes through unchanged, checked or not, on the communicator and on its duplicates.
TEST_P(WatchedCommunicatorIn, PassesEveryCallOn) {
  for (const bool check : {false, true}) {
    GetParam().run([&](Communicator& plain) {
      CollectiveJournal journal;
      WatchedCommunicator watched(plain, journal, check);
      const std::unique_ptr<Communicator> duplicate = watched.duplicate();
      for (Communicator* communicator : {static_cast<Communicator*>(&watched), duplicate.get()}) {
        const int size = communicator->size();
        const int rank = communicator->rank();
        at::Tensor sum = at::ones({5}) * (rank + 1);
        communicator->label_next("bucket 3, step 41");
        all_reduce(*communicator, sum);
        EXPECT_EQ(sum[4].item<float>(), static_cast<float>(size * (size + 1)) / 2);
        EXPECT_EQ(journal.snapshot().events.back().text, "all_reduce of 5 Float (bucket 3, step 41)");
        const at::Tensor all = all_gather(*communicator, at::ones({1}) * rank);
        EXPECT_EQ(all[size - 1].item<float>(), static_cast<float>(size - 1));
        at::Tensor received = at::zeros({size, 1});
        all_to_all(*communicator, at::ones({size, 1}) * rank, received);
        EXPECT_EQ(received[size - 1].item<float>(), static_cast<float>(size - 1));
        EXPECT_EQ(broadcast_text(*communicator, rank == size - 1 ? "last" : "", size - 1), "last");
        communicator->barrier();
      }
      EXPECT_EQ(journal.num_finished(), journal.snapshot().num_begun);
      EXPECT_FALSE(journal.snapshot().waits_in.has_value());
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Local, WatchedCommunicatorIn, testing::ValuesIn(test::local_backends()),
                         [](const auto& tested) { return tested.param.name; });
INSTANTIATE_TEST_SUITE_P(Mpi, WatchedCommunicatorIn, testing::ValuesIn(test::mpi_backends()),
                         [](const auto& tested) { return tested.param.name; });

// What `body` makes the check say, where every rank must hear the same.
std::string message_of(const std::function<void(Communicator&)>& body) {
  std::string message;
  test::run_ranks(3, [&](Communicator& plain) {
    CollectiveJournal journal;
    WatchedCommunicator watched(plain, journal, true);
    SCOPED_TRACE("rank " + std::to_string(plain.rank()));
    const std::string said =
        test::refusal_message<base::ErrorOnAllRanks>(base::ExitCode::communication, [&] { body(watched); });
    const std::vector<std::string> all = all_gather_texts(plain, said);
    for (const std::string& text : all) EXPECT_EQ(text, all.front());
    if (plain.rank() == 0) message = said;
  });
  return message;
}

TEST(WatchedCommunicator, NamesBothRanksAndTheirCallsWhereTheOperationDiffers) {
  const std::string message = message_of([](Communicator& communicator) {
    if (communicator.rank() == 1) {
      communicator.barrier();
    } else {
      all_reduce(communicator, at::ones({4}));
    }
  });
  EXPECT_THAT(message, HasSubstr("ranks 0 and 1 call different collectives"));
  EXPECT_THAT(message, HasSubstr("rank 0: collective 1, all_reduce of 4 Float"));
  EXPECT_THAT(message, HasSubstr("rank 1: collective 1, barrier"));
}

TEST(WatchedCommunicator, NamesADifferentCountTypeRootOrLabel) {
  EXPECT_THAT(message_of([](Communicator& communicator) {
                all_reduce(communicator, at::ones({communicator.rank() == 2 ? 5 : 4}));
              }),
              HasSubstr("rank 2: collective 1, all_reduce of 5 Float"));
  EXPECT_THAT(message_of([](Communicator& communicator) {
                all_reduce(communicator, at::ones({4}, communicator.rank() == 2 ? at::kDouble : at::kFloat));
              }),
              HasSubstr("rank 2: collective 1, all_reduce of 4 Double"));
  EXPECT_THAT(message_of([](Communicator& communicator) {
                communicator.broadcast(at::ones({4}), communicator.rank() == 2 ? 1 : 0);
              }),
              HasSubstr("rank 2: collective 1, broadcast from rank 1"));
  EXPECT_THAT(message_of([](Communicator& communicator) {
                communicator.label_next(communicator.rank() == 2 ? "bucket 1, step 8" : "bucket 0, step 8");
                all_reduce(communicator, at::ones({4}));
              }),
              HasSubstr("bucket 1, step 8"));
}

TEST(WatchedCommunicator, NamesARankThatHasLeftOutACall) {
  const std::string message = message_of([](Communicator& communicator) {
    for (const char* step : {"step 1", "step 2"}) {
      if (communicator.rank() == 1 && step == std::string("step 1")) continue;
      communicator.label_next(step);
      all_reduce(communicator, at::ones({4}));
    }
  });
  EXPECT_THAT(message, HasSubstr("rank 0: collective 1, all_reduce of 4 Float (step 1)"));
  EXPECT_THAT(message, HasSubstr("rank 1: collective 1, all_reduce of 4 Float (step 2)"));
}

// The order is one over all duplicates.
TEST(WatchedCommunicator, NamesRanksThatUseDuplicatesInAnotherOrder) {
  const std::string message = message_of([](Communicator& communicator) {
    const auto first = communicator.duplicate();
    const auto second = communicator.duplicate();
    Communicator& early = communicator.rank() == 1 ? *second : *first;
    Communicator& late = communicator.rank() == 1 ? *first : *second;
    early.start_all_reduce(at::ones({communicator.rank() == 1 ? 2 : 1}));
    late.start_all_reduce(at::ones({communicator.rank() == 1 ? 1 : 2}));
  });
  EXPECT_THAT(message, HasSubstr("rank 1: collective 3, all_reduce of 2 Float"));
}

}  // namespace
}  // namespace leda::distributed
