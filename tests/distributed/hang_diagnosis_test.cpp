#include "distributed/watch/hang_diagnosis.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leda::distributed {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using Heartbeats = std::vector<std::optional<Heartbeat>>;

Heartbeat waiting(std::int64_t sequence, const std::string& call, double silent = 10.0) {
  return {.silent_seconds = silent, .is_waiting = true, .sequence = sequence, .doing = call};
}

Heartbeat at_work(std::int64_t sequence, const std::string& last, double silent) {
  return {.silent_seconds = silent, .is_waiting = false, .sequence = sequence, .doing = last};
}

TEST(HangDiagnosis, ARankWithoutAHeartbeatIsNamedBeforeAllOthers) {
  const Heartbeats heartbeats{std::nullopt, waiting(7, "barrier"), at_work(6, "step 3", 2.0)};
  const HangDiagnosis diagnosis = diagnose_hang(heartbeats, 10.0, 1.0);
  EXPECT_THAT(diagnosis.culprits, ElementsAre(0));
  EXPECT_EQ(diagnosis.what, "rank 0 has sent no heartbeat");
  EXPECT_THAT(diagnosis.value, HasSubstr("rank 1 in barrier"));
}

TEST(HangDiagnosis, SeveralWithoutAHeartbeatAreAllNamed) {
  const HangDiagnosis diagnosis = diagnose_hang({std::nullopt, waiting(7, "barrier"), std::nullopt}, 10.0, 1.0);
  EXPECT_THAT(diagnosis.culprits, ElementsAre(0, 2));
  EXPECT_EQ(diagnosis.what, "ranks 0 and 2 have sent no heartbeat");
}

TEST(HangDiagnosis, ARankStuckAtWorkIsNamedWithItsLastEvent) {
  const Heartbeats heartbeats{waiting(7, "all_reduce of 12 Float"), waiting(7, "all_reduce of 12 Float"),
                              at_work(6, "step 3", 9.5)};
  const HangDiagnosis diagnosis = diagnose_hang(heartbeats, 10.0, 1.0);
  EXPECT_THAT(diagnosis.culprits, ElementsAre(2));
  EXPECT_THAT(diagnosis.value, HasSubstr("step 3"));
  EXPECT_THAT(diagnosis.value, HasSubstr("ranks 0 and 1 in all_reduce of 12 Float"));
}

TEST(HangDiagnosis, OfRanksStuckAtWorkThoseThatAreBehindAreNamed) {
  const Heartbeats heartbeats{at_work(9, "step 4", 10.0), at_work(6, "step 3", 10.0), at_work(9, "step 4", 10.0)};
  EXPECT_THAT(diagnose_hang(heartbeats, 10.0, 1.0).culprits, ElementsAre(1));
}

TEST(HangDiagnosis, ABusyRankIsWaitedForUntilItsOwnSilenceReachesTheTimeout) {
  const HangDiagnosis busy = diagnose_hang({waiting(7, "barrier"), at_work(6, "slice 40", 4.0)}, 10.0, 1.0);
  EXPECT_THAT(busy.culprits, IsEmpty());
  EXPECT_EQ(busy.busy_silent_seconds, 4.0);
  EXPECT_THAT(diagnose_hang({waiting(7, "barrier"), at_work(6, "slice 40", 9.1)}, 10.0, 1.0).culprits, ElementsAre(1));
}

TEST(HangDiagnosis, AMinorityInAnotherCollectiveIsNamed) {
  const Heartbeats heartbeats{waiting(7, "barrier"), waiting(7, "all_reduce of 3 Long"), waiting(7, "barrier")};
  const HangDiagnosis diagnosis = diagnose_hang(heartbeats, 10.0, 1.0);
  EXPECT_THAT(diagnosis.culprits, ElementsAre(1));
  EXPECT_THAT(diagnosis.value, HasSubstr("ranks 0 and 2 in collective 7, barrier"));
  EXPECT_THAT(diagnosis.value, HasSubstr("rank 1 in collective 7, all_reduce of 3 Long"));
}

TEST(HangDiagnosis, TwoRanksInDifferentCollectivesAreBothNamed) {
  const HangDiagnosis diagnosis = diagnose_hang({waiting(7, "barrier"), waiting(8, "barrier")}, 10.0, 1.0);
  EXPECT_THAT(diagnosis.culprits, ElementsAre(0, 1));
}

TEST(HangDiagnosis, AllInTheSameCollectiveIsTheNetworks) {
  const HangDiagnosis diagnosis = diagnose_hang({waiting(7, "barrier"), waiting(7, "barrier")}, 10.0, 1.0);
  EXPECT_THAT(diagnosis.culprits, ElementsAre(0, 1));
  EXPECT_THAT(diagnosis.what, HasSubstr("network"));
}

Heartbeat asleep(Heartbeat heartbeat, double seconds) {
  heartbeat.asleep_seconds = seconds;
  return heartbeat;
}

TEST(HangDiagnosis, OfRanksInTheSameCollectiveTheOneWhoseThreadSleepsIsNamed) {
  const Heartbeats heartbeats{waiting(7, "barrier"), asleep(waiting(7, "barrier"), 9.0),
                              asleep(waiting(7, "barrier"), 0.5)};
  const HangDiagnosis diagnosis = diagnose_hang(heartbeats, 10.0, 1.0);
  EXPECT_THAT(diagnosis.culprits, ElementsAre(1));
  EXPECT_EQ(diagnosis.what, "rank 1 stands still, asleep inside a collective");
  EXPECT_EQ(diagnosis.value, "takes no processor time: rank 1 in barrier; waiting for it: ranks 0 and 2 in barrier");
}

TEST(HangDiagnosis, ARankAsleepInAnEarlierCollectiveIsNamedRatherThanBoth) {
  const HangDiagnosis diagnosis = diagnose_hang({waiting(8, "barrier"), asleep(waiting(7, "gather"), 9.0)}, 10.0, 1.0);
  EXPECT_THAT(diagnosis.culprits, ElementsAre(1));
}

TEST(HangDiagnosis, WhereAllSleepInTheirWaitItIsTheNetworks) {
  const Heartbeats heartbeats{asleep(waiting(7, "barrier"), 9.0), asleep(waiting(7, "barrier"), 9.5)};
  EXPECT_THAT(diagnose_hang(heartbeats, 10.0, 1.0).what, HasSubstr("network"));
}

TEST(HangDiagnosis, AShortSleepIsNone) {
  const Heartbeats heartbeats{waiting(7, "barrier"), asleep(waiting(7, "barrier"), 4.0)};
  EXPECT_THAT(diagnose_hang(heartbeats, 10.0, 1.0).what, HasSubstr("network"));
}

TEST(HangDiagnosis, RanksAreListedAsAReaderWould) {
  EXPECT_EQ(ranks_text({2}), "rank 2");
  EXPECT_EQ(ranks_text({0, 3}), "ranks 0 and 3");
  EXPECT_EQ(ranks_text({0, 1, 3}), "ranks 0, 1 and 3");
}

}  // namespace
}  // namespace leda::distributed
