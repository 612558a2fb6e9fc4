#include "training/stages/patient_means.hpp"

#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <set>

#include "data/shards/rank_walk.hpp"
#include "tests/data/tiny_shards.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/thread_ranks.hpp"

namespace leda::training {
namespace {

// Ten slices of three patients: 6 of a, 3 of b, 1 of c. Slice i has the figures i and a third of i squared.
class PatientMeansTest : public testing::Test {
 protected:
  PatientMeansTest() {
    test::write_tiny_shard(folder.path() / "shard_0.h5", 0, 6, test::kFullShape, "a");
    test::write_tiny_shard(folder.path() / "shard_1.h5", 6, 3, test::kFullShape, "b");
    test::write_tiny_shard(folder.path() / "shard_2.h5", 9, 1, test::kFullShape, "c");
  }

  std::vector<logging::Scalar> means_of(int num_ranks) {
    std::vector<logging::Scalar> result;
    test::run_ranks(num_ranks, [&](distributed::Communicator& ranks) {
      const auto catalogue = data::ShardCatalogue::open(folder.path());
      PatientMeans means(catalogue, {"number", "third of square"});
      data::walk_by_rank(catalogue.num_slices(), ranks, {}, [&](std::int64_t id) {
        const auto number = static_cast<double>(id);
        means.add(id, {number, number * number / 3.0});  // thirds, so that the order of addition shows
      });
      const auto reduced = means.reduce(ranks);
      if (ranks.rank() == ranks.size() - 1) result = reduced;
    });
    return result;
  }

  const test::TemporaryFolder folder;
};

TEST_F(PatientMeansTest, EveryPatientCountsOnceHoweverManySlicesItHas) {
  const auto means = means_of(1);
  ASSERT_EQ(means.size(), 2u);
  EXPECT_EQ(means[0].name, "number");
  EXPECT_NEAR(means[0].value, (2.5 + 7.0 + 9.0) / 3.0, 1e-12);
  EXPECT_EQ(means[1].name, "third of square");
  EXPECT_NEAR(means[1].value, (55.0 / 6.0 + 149.0 / 3.0 + 81.0) / 9.0, 1e-12);
}

TEST_F(PatientMeansTest, HaveTheSameBitsOnThreeRanksAndOnMoreRanksThanSlices) {
  const auto one = means_of(1);
  for (const int num_ranks : {3, 12}) {
    const auto many = means_of(num_ranks);
    ASSERT_EQ(many.size(), one.size());
    for (std::size_t i = 0; i < one.size(); ++i) EXPECT_EQ(many[i].value, one[i].value);
  }
}

TEST_F(PatientMeansTest, EachSliceIsVisitedByOneRank) {
  std::mutex mutex;
  std::multiset<std::int64_t> visited;
  std::map<int, int> share;
  test::run_ranks(3, [&](distributed::Communicator& ranks) {
    const auto catalogue = data::ShardCatalogue::open(folder.path());
    data::walk_by_rank(catalogue.num_slices(), ranks, {}, [&](std::int64_t id) {
      const std::lock_guard lock(mutex);
      visited.insert(id);
      ++share[ranks.rank()];
    });
  });
  EXPECT_EQ(visited, (std::multiset<std::int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  for (const auto& [rank, count] : share) EXPECT_TRUE(count == 3 || count == 4) << "rank " << rank;
}

}  // namespace
}  // namespace leda::training
