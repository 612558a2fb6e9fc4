#include "distributed/core/stop_agreement.hpp"

#include <gtest/gtest.h>

#include "tests/distributed/communicator_backends.hpp"

namespace leda::distributed {
namespace {

using base::StopRequest;

class StopAgreementTest : public testing::TestWithParam<test::CommunicatorBackend> {};

INSTANTIATE_TEST_SUITE_P(Local, StopAgreementTest, testing::ValuesIn(test::local_backends()));
INSTANTIATE_TEST_SUITE_P(Mpi, StopAgreementTest, testing::ValuesIn(test::mpi_backends()));

TEST_P(StopAgreementTest, ARequestOfOneRankIsSeenByAllAfterTheNextStep) {
  GetParam().run([](Communicator& communicator) {
    StopAgreement agreement(communicator);
    const bool is_asked = communicator.rank() == communicator.size() - 1;
    int last_step = 0;
    for (int step = 1; step <= 10; ++step) {
      const auto mine = is_asked && step >= 4 ? StopRequest::run_again : StopRequest::none;
      if (agreement.exchange(mine) == StopRequest::none) continue;
      last_step = step;
      break;
    }
    EXPECT_EQ(last_step, 5);
    EXPECT_EQ(agreement.drain(), StopRequest::run_again);
  });
}

TEST_P(StopAgreementTest, TheStrongestRequestWins) {
  GetParam().run([](Communicator& communicator) {
    StopAgreement agreement(communicator);
    const bool is_first = communicator.rank() == 0;
    agreement.exchange(is_first ? StopRequest::do_not_restart : StopRequest::run_again);
    EXPECT_EQ(agreement.exchange(StopRequest::none), StopRequest::do_not_restart);
    EXPECT_EQ(agreement.exchange(StopRequest::none), StopRequest::none);
    EXPECT_EQ(agreement.drain(), StopRequest::none);
    EXPECT_EQ(agreement.drain(), StopRequest::none);
  });
}

TEST_P(StopAgreementTest, UrgencyOfOneRankIsUrgencyOfAll) {
  GetParam().run([](Communicator& communicator) {
    StopAgreement agreement(communicator);
    agreement.exchange(StopRequest::run_again);  // still under way
    EXPECT_FALSE(agreement.is_any_urgent(false));
    EXPECT_TRUE(agreement.is_any_urgent(communicator.rank() == communicator.size() - 1));
    EXPECT_FALSE(agreement.is_any_urgent(false));
    EXPECT_EQ(agreement.exchange(StopRequest::none), StopRequest::none);
    EXPECT_EQ(agreement.drain(), StopRequest::none);
  });
}

TEST_P(StopAgreementTest, DoesNotMixWithCollectivesOfTheLoop) {
  GetParam().run([](Communicator& communicator) {
    StopAgreement agreement(communicator);
    for (int step = 0; step < 5; ++step) {
      agreement.exchange(StopRequest::none);
      const auto texts = all_gather_texts(communicator, std::to_string(communicator.rank()));
      EXPECT_EQ(texts.back(), std::to_string(communicator.size() - 1));
    }
    EXPECT_EQ(agreement.drain(), StopRequest::none);
  });
}

}  // namespace
}  // namespace leda::distributed
