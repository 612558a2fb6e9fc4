#include "training/replica_check.hpp"

#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "base/error.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/thread_ranks.hpp"

namespace leda::training {
namespace {

using testing::HasSubstr;

// What every rank is told after `change` has had its way with each rank's network; empty where all are equal.
std::string message(int num_ranks, const std::function<void(int rank, at::Tensor& weights)>& change) {
  std::string text;
  test::run_ranks(num_ranks, [&](distributed::Communicator& communicator) {
    at::Tensor weights = at::ones({3, 4});
    change(communicator.rank(), weights);
    const storage::TensorArchive networks{{{"bias", at::ones({2}, at::kDouble)}, {"weight", weights}}, {}};
    const auto error =
        test::thrown_error<base::ErrorOnAllRanks>([&] { require_equal_replicas(networks, 40, communicator); });
    if (error) {
      EXPECT_EQ(error->exit_code(), base::ExitCode::communication);
    }
    const std::string own = error ? error->what() : "";
    for (const std::string& other : distributed::all_gather_texts(communicator, own)) EXPECT_EQ(other, own);
    if (communicator.rank() == 0) text = own;
  });
  return text;
}

TEST(ReplicaCheck, EqualNetworksPass) {
  EXPECT_EQ(message(3, [](int, at::Tensor&) {}), "");
  // Another layout of the same numbers is the same network.
  EXPECT_EQ(message(2,
                    [](int rank, at::Tensor& weights) {
                      if (rank == 1) weights = at::ones({4, 3}).t();
                    }),
            "");
}

TEST(ReplicaCheck, OneBitOnOneRankIsFoundAndTheRankNamed) {
  const std::string text = message(3, [](int rank, at::Tensor& weights) {
    if (rank == 1) weights.data_ptr<float>()[11] = 1.0F + 1.2e-7F;
  });
  EXPECT_THAT(text, HasSubstr("the network of rank 1 is not the other ranks' after step 40"));
  EXPECT_THAT(text, HasSubstr("on ranks 0 and 2"));
}

TEST(ReplicaCheck, WithoutAMajorityAllAreNamed) {
  EXPECT_THAT(message(2, [](int rank, at::Tensor& weights) { weights.mul_(rank + 1); }),
              HasSubstr("ranks 0 and 1 hold different networks"));
}

}  // namespace
}  // namespace leda::training
