#include "distributed/watch/silence_verdict.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leda::distributed {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using Signs = std::vector<std::optional<RankSign>>;

RankSign waiting(std::int64_t sequence, const std::string& call, double silent = 10.0) {
  return {.silent_seconds = silent, .is_waiting = true, .sequence = sequence, .doing = call};
}

RankSign at_work(std::int64_t sequence, const std::string& last, double silent) {
  return {.silent_seconds = silent, .is_waiting = false, .sequence = sequence, .doing = last};
}

TEST(SilenceVerdict, ARankWithoutASignIsNamedBeforeAllOthers) {
  const Signs signs{std::nullopt, waiting(7, "barrier"), at_work(6, "step 3", 2.0)};
  const SilenceVerdict verdict = judge_silence(signs, 10.0, 1.0);
  EXPECT_THAT(verdict.culprits, ElementsAre(0));
  EXPECT_EQ(verdict.what, "rank 0 gives no sign of life");
  EXPECT_THAT(verdict.value, HasSubstr("rank 1 in barrier"));
}

TEST(SilenceVerdict, SeveralWithoutASignAreAllNamed) {
  const SilenceVerdict verdict = judge_silence({std::nullopt, waiting(7, "barrier"), std::nullopt}, 10.0, 1.0);
  EXPECT_THAT(verdict.culprits, ElementsAre(0, 2));
  EXPECT_EQ(verdict.what, "ranks 0 and 2 give no sign of life");
}

TEST(SilenceVerdict, ARankStuckAtWorkIsNamedWithItsLastEvent) {
  const Signs signs{waiting(7, "all_reduce of 12 Float"), waiting(7, "all_reduce of 12 Float"),
                    at_work(6, "step 3", 9.5)};
  const SilenceVerdict verdict = judge_silence(signs, 10.0, 1.0);
  EXPECT_THAT(verdict.culprits, ElementsAre(2));
  EXPECT_THAT(verdict.value, HasSubstr("step 3"));
  EXPECT_THAT(verdict.value, HasSubstr("ranks 0 and 1 in all_reduce of 12 Float"));
}

TEST(SilenceVerdict, OfRanksStuckAtWorkThoseThatAreBehindAreNamed) {
  const Signs signs{at_work(9, "step 4", 10.0), at_work(6, "step 3", 10.0), at_work(9, "step 4", 10.0)};
  EXPECT_THAT(judge_silence(signs, 10.0, 1.0).culprits, ElementsAre(1));
}

TEST(SilenceVerdict, ABusyRankIsWaitedForUntilItsOwnSilenceReachesTheTimeout) {
  const SilenceVerdict busy = judge_silence({waiting(7, "barrier"), at_work(6, "slice 40", 4.0)}, 10.0, 1.0);
  EXPECT_THAT(busy.culprits, IsEmpty());
  EXPECT_EQ(busy.busy_silent_seconds, 4.0);
  EXPECT_THAT(judge_silence({waiting(7, "barrier"), at_work(6, "slice 40", 9.1)}, 10.0, 1.0).culprits, ElementsAre(1));
}

TEST(SilenceVerdict, AMinorityInAnotherCollectiveIsNamed) {
  const Signs signs{waiting(7, "barrier"), waiting(7, "all_reduce of 3 Long"), waiting(7, "barrier")};
  const SilenceVerdict verdict = judge_silence(signs, 10.0, 1.0);
  EXPECT_THAT(verdict.culprits, ElementsAre(1));
  EXPECT_THAT(verdict.value, HasSubstr("ranks 0 and 2 in collective 7, barrier"));
  EXPECT_THAT(verdict.value, HasSubstr("rank 1 in collective 7, all_reduce of 3 Long"));
}

TEST(SilenceVerdict, TwoRanksInDifferentCollectivesAreBothNamed) {
  const SilenceVerdict verdict = judge_silence({waiting(7, "barrier"), waiting(8, "barrier")}, 10.0, 1.0);
  EXPECT_THAT(verdict.culprits, ElementsAre(0, 1));
}

TEST(SilenceVerdict, AllInTheSameCollectiveIsTheNetworks) {
  const SilenceVerdict verdict = judge_silence({waiting(7, "barrier"), waiting(7, "barrier")}, 10.0, 1.0);
  EXPECT_THAT(verdict.culprits, ElementsAre(0, 1));
  EXPECT_THAT(verdict.what, HasSubstr("network"));
}

RankSign asleep(RankSign sign, double seconds) {
  sign.asleep_seconds = seconds;
  return sign;
}

TEST(SilenceVerdict, OfRanksInTheSameCollectiveTheOneWhoseThreadSleepsIsNamed) {
  const Signs signs{waiting(7, "barrier"), asleep(waiting(7, "barrier"), 9.0), asleep(waiting(7, "barrier"), 0.5)};
  const SilenceVerdict verdict = judge_silence(signs, 10.0, 1.0);
  EXPECT_THAT(verdict.culprits, ElementsAre(1));
  EXPECT_EQ(verdict.what, "rank 1 stands still, asleep inside a collective");
  EXPECT_EQ(verdict.value, "takes no processor time: rank 1 in barrier; waiting for it: ranks 0 and 2 in barrier");
}

TEST(SilenceVerdict, ARankAsleepInAnEarlierCollectiveIsNamedRatherThanBoth) {
  const SilenceVerdict verdict = judge_silence({waiting(8, "barrier"), asleep(waiting(7, "gather"), 9.0)}, 10.0, 1.0);
  EXPECT_THAT(verdict.culprits, ElementsAre(1));
}

TEST(SilenceVerdict, WhereAllSleepInTheirWaitItIsTheNetworks) {
  const Signs signs{asleep(waiting(7, "barrier"), 9.0), asleep(waiting(7, "barrier"), 9.5)};
  EXPECT_THAT(judge_silence(signs, 10.0, 1.0).what, HasSubstr("network"));
}

TEST(SilenceVerdict, AShortSleepIsNone) {
  const Signs signs{waiting(7, "barrier"), asleep(waiting(7, "barrier"), 4.0)};
  EXPECT_THAT(judge_silence(signs, 10.0, 1.0).what, HasSubstr("network"));
}

TEST(SilenceVerdict, RanksAreListedAsAReaderWould) {
  EXPECT_EQ(ranks_text({2}), "rank 2");
  EXPECT_EQ(ranks_text({0, 3}), "ranks 0 and 3");
  EXPECT_EQ(ranks_text({0, 1, 3}), "ranks 0, 1 and 3");
}

}  // namespace
}  // namespace leda::distributed
