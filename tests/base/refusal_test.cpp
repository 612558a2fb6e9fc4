// tests/support/refusal.hpp, on which most tests of refusals rest: what it lets pass, and what it calls a failure.
#include "tests/support/refusal.hpp"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace leda::test {
namespace {

void refuse() { throw base::Error(base::ExitCode::data, {.what = "it is broken", .remedy = "mend it"}); }
void refuse_on_all_ranks() { throw base::ErrorOnAllRanks(base::ExitCode::options, {.what = "all", .remedy = "none"}); }
void accept() {}

TEST(Refusal, IsReturnedWithItsTextWhereTheCodeIsTheExpectedOne) {
  EXPECT_EQ(refusal_of(base::ExitCode::data, refuse).text().what, "it is broken");
  EXPECT_EQ(refusal_message(base::ExitCode::data, refuse), "it is broken\n  what to try: mend it");
  EXPECT_EQ(refusal_of<base::ErrorOnAllRanks>(base::ExitCode::options, refuse_on_all_ranks).text().what, "all");
}

TEST(Refusal, ACallThatIsAcceptedOrRefusedForAnotherReasonIsAFailure) {
  EXPECT_NONFATAL_FAILURE(refusal_of(base::ExitCode::data, accept), "was not refused");
  EXPECT_NONFATAL_FAILURE(refusal_message(base::ExitCode::finished, accept), "was not refused");
  EXPECT_NONFATAL_FAILURE(refusal_of(base::ExitCode::storage, refuse), "code 11 instead of 12: it is broken");
}

TEST(Refusal, AnErrorOfAnotherTypeGoesOn) {
  EXPECT_THROW(refusal_of<base::ErrorOnAllRanks>(base::ExitCode::data, refuse), base::Error);
  EXPECT_THROW(thrown_error([] { throw std::logic_error("ours"); }), std::logic_error);
}

TEST(Refusal, ExitCodeAndErrorOfACallThatIsAcceptedAreNone) {
  EXPECT_EQ(exit_code_of(accept), base::ExitCode::finished);
  EXPECT_EQ(exit_code_of(refuse), base::ExitCode::data);
  EXPECT_FALSE(thrown_error(accept));
  EXPECT_TRUE(thrown_error(refuse));
}

}  // namespace
}  // namespace leda::test
