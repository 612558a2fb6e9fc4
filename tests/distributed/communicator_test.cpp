#include "distributed/communicator.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <memory>

#include "tests/distributed/worlds.hpp"

namespace leda::distributed {
namespace {

class CommunicatorContract : public testing::TestWithParam<test::World> {};

INSTANTIATE_TEST_SUITE_P(Local, CommunicatorContract, testing::ValuesIn(test::local_worlds()));
INSTANTIATE_TEST_SUITE_P(Mpi, CommunicatorContract, testing::ValuesIn(test::mpi_worlds()));

TEST_P(CommunicatorContract, RanksCountFromZeroAndShareThisHost) {
  GetParam().run([](Communicator& communicator) {
    EXPECT_GE(communicator.rank(), 0);
    EXPECT_LT(communicator.rank(), communicator.size());
    EXPECT_EQ(communicator.local_size(), communicator.size());
    EXPECT_EQ(communicator.local_rank(), communicator.rank());
  });
}

TEST_P(CommunicatorContract, AllReduceSumsEveryTypeExactly) {
  GetParam().run([](Communicator& communicator) {
    for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kLong}) {
      const at::Tensor values = at::arange(1000, type).reshape({10, 100});
      const at::Tensor tensor = values * (communicator.rank() + 1);
      all_reduce(communicator, tensor);
      const int size = communicator.size();
      EXPECT_TRUE(tensor.equal(values * (size * (size + 1) / 2))) << c10::toString(type);
    }
  });
}

TEST_P(CommunicatorContract, ReductionsUnderWayMayBeWaitedForInAnyOrder) {
  GetParam().run([](Communicator& communicator) {
    const at::Tensor first = at::full({7}, 1.0, at::kDouble);
    const at::Tensor second = at::full({5}, 10.0, at::kDouble);
    const auto pending_first = communicator.start_all_reduce(first);
    const auto pending_second = communicator.start_all_reduce(second);
    pending_second->wait();
    pending_first->wait();
    EXPECT_TRUE(first.equal(at::full({7}, communicator.size(), at::kDouble)));
    EXPECT_TRUE(second.equal(at::full({5}, 10.0 * communicator.size(), at::kDouble)));
  });
}

TEST_P(CommunicatorContract, EmptyTensorsPass) {
  GetParam().run([](Communicator& communicator) {
    const at::Tensor nothing = at::empty({0, 4}, at::kFloat);
    all_reduce(communicator, nothing);
    communicator.broadcast(nothing, 0);
    EXPECT_EQ(communicator.all_gather(nothing).sizes(), (at::IntArrayRef{communicator.size(), 0, 4}));
  });
}

TEST_P(CommunicatorContract, BroadcastCarriesAnyTypeFromAnyRoot) {
  GetParam().run([](Communicator& communicator) {
    for (int root = 0; root < communicator.size(); ++root) {
      for (const at::ScalarType type : {at::kByte, at::kHalf, at::kBFloat16, at::kInt, at::kDouble}) {
        const at::Tensor truth = (at::arange(11) + 20 * root).to(type);
        const at::Tensor tensor = communicator.rank() == root ? truth.clone() : at::zeros({11}, type);
        communicator.broadcast(tensor, root);
        EXPECT_TRUE(tensor.equal(truth)) << c10::toString(type) << " from " << root;
      }
    }
  });
}

TEST_P(CommunicatorContract, AllGatherStacksByRank) {
  GetParam().run([](Communicator& communicator) {
    const at::Tensor grid = at::arange(12, at::kInt).reshape({3, 4}).t();
    const at::Tensor all = communicator.all_gather(grid + 100 * communicator.rank());
    ASSERT_EQ(all.sizes(), (at::IntArrayRef{communicator.size(), 4, 3}));
    for (int rank = 0; rank < communicator.size(); ++rank) EXPECT_TRUE(all[rank].equal(grid + 100 * rank));
  });
}

TEST_P(CommunicatorContract, TextsKeepTheirLengths) {
  GetParam().run([](Communicator& communicator) {
    const auto text_of = [](int rank) { return std::string(static_cast<std::size_t>(rank) * 5, 'a') + '\0'; };
    const auto texts = all_gather_texts(communicator, text_of(communicator.rank()));
    ASSERT_EQ(texts.size(), static_cast<std::size_t>(communicator.size()));
    for (int rank = 0; rank < communicator.size(); ++rank) EXPECT_EQ(texts[rank], text_of(rank));
    EXPECT_EQ(all_gather_texts(communicator, ""), std::vector<std::string>(communicator.size()));

    const int last = communicator.size() - 1;
    const std::string mine = communicator.rank() == last ? "from the last rank" : "something longer that is ignored";
    EXPECT_EQ(broadcast_text(communicator, mine, last), "from the last rank");
    EXPECT_EQ(broadcast_text(communicator, communicator.rank() == 0 ? "" : "x", 0), "");
  });
}

TEST_P(CommunicatorContract, DuplicatesDoNotMix) {
  GetParam().run([](Communicator& communicator) {
    const auto other = communicator.duplicate();
    const auto third = other->duplicate();
    ASSERT_EQ(other->rank(), communicator.rank());
    const at::Tensor a = at::full({3}, 1, at::kLong);
    const at::Tensor b = at::full({3}, 100, at::kLong);
    std::unique_ptr<PendingCollective> pending_a;
    std::unique_ptr<PendingCollective> pending_b;
    if (communicator.rank() % 2 == 0) {
      pending_a = communicator.start_all_reduce(a);
      pending_b = third->start_all_reduce(b);
    } else {  // the order between communicators is free
      pending_b = third->start_all_reduce(b);
      pending_a = communicator.start_all_reduce(a);
    }
    pending_b->wait();
    pending_a->wait();
    EXPECT_TRUE(a.equal(at::full({3}, communicator.size(), at::kLong)));
    EXPECT_TRUE(b.equal(at::full({3}, 100 * communicator.size(), at::kLong)));
  });
}

}  // namespace
}  // namespace leda::distributed
