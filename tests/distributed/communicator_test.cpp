#include "distributed/core/communicator.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <memory>

#include "tests/distributed/communicator_backends.hpp"

namespace leda::distributed {
namespace {

class CommunicatorContract : public testing::TestWithParam<test::CommunicatorBackend> {};

INSTANTIATE_TEST_SUITE_P(Local, CommunicatorContract, testing::ValuesIn(test::local_backends()));
INSTANTIATE_TEST_SUITE_P(Mpi, CommunicatorContract, testing::ValuesIn(test::mpi_backends()));

TEST_P(CommunicatorContract, RanksCountFromZeroAndShareThisHost) {
  GetParam().run([](Communicator& communicator) {
    EXPECT_GE(communicator.rank(), 0);
    EXPECT_LT(communicator.rank(), communicator.size());
    EXPECT_EQ(communicator.local_size(), communicator.size());
    EXPECT_EQ(communicator.local_rank(), communicator.rank());
  });
}

// Whole numbers small enough for every type to hold their sums exactly, at any number of ranks up to 5.
at::Tensor whole_numbers(std::int64_t count, int first, at::ScalarType type) {
  return ((at::arange(count) + first) % 7).to(type);
}

constexpr at::ScalarType kSummedTypes[] = {at::kDouble, at::kFloat, at::kBFloat16, at::kLong, at::kByte};

std::vector<std::int64_t> counts(const test::CommunicatorBackend& backend) {
  if (!backend.carries_large_tensors) return {0, 1, 2, 3, 20};
  return {0, 1, 2, 3, 1000, 4099};
}

TEST_P(CommunicatorContract, AllReduceSumsEveryTypeExactly) {
  GetParam().run([](Communicator& communicator) {
    for (const at::ScalarType type : kSummedTypes) {
      for (const std::int64_t count : counts(GetParam())) {
        const at::Tensor tensor = whole_numbers(count, communicator.rank(), type);
        at::Tensor truth = at::zeros({count}, type);
        for (int rank = 0; rank < communicator.size(); ++rank) truth += whole_numbers(count, rank, type);
        all_reduce(communicator, tensor);
        EXPECT_TRUE(tensor.equal(truth)) << c10::toString(type) << " x " << count;
      }
    }
  });
}

TEST_P(CommunicatorContract, AllToAllTransposesRowsAndRanks) {
  GetParam().run([](Communicator& communicator) {
    const int size = communicator.size();
    for (const at::ScalarType type : kSummedTypes) {
      for (const std::int64_t count : counts(GetParam())) {
        const auto row = [&](int from, int to) { return whole_numbers(count, 10 * from + to, type); };
        const at::Tensor sent = at::empty({size, count}, type);
        for (int to = 0; to < size; ++to) sent[to].copy_(row(communicator.rank(), to));
        const at::Tensor received = at::full({size, count}, 3, type);
        all_to_all(communicator, sent, received);
        for (int from = 0; from < size; ++from) {
          EXPECT_TRUE(received[from].equal(row(from, communicator.rank()))) << c10::toString(type) << " x " << count;
        }
      }
    }
  });
}

// 64 MiB on all ranks together, in every kind of call.
TEST_P(CommunicatorContract, LargeTensorsArriveWhole) {
  if (!GetParam().carries_large_tensors) return;
  GetParam().run([](Communicator& communicator) {
    const int size = communicator.size();
    const std::int64_t count = (std::int64_t{64} << 20) / 4 / size;
    const auto values = [&](int rank) { return whole_numbers(count, rank, at::kFloat); };
    at::Tensor sum = at::zeros({count});
    for (int rank = 0; rank < size; ++rank) sum += values(rank);

    const at::Tensor reduced = values(communicator.rank());
    all_reduce(communicator, reduced);
    EXPECT_TRUE(reduced.equal(sum));
    const at::Tensor all = all_gather(communicator, values(communicator.rank()));
    for (int rank = 0; rank < size; ++rank) EXPECT_TRUE(all[rank].equal(values(rank)));
    const at::Tensor received = at::empty({size, count});
    all_to_all(communicator, all, received);
    for (int rank = 0; rank < size; ++rank) EXPECT_TRUE(received[rank].equal(values(communicator.rank())));
    const at::Tensor sent = communicator.rank() == size - 1 ? values(9) : at::zeros({count});
    communicator.broadcast(sent, size - 1);
    EXPECT_TRUE(sent.equal(values(9)));
  });
}

// Each addition rounds to 8 bits: with n ranks at most n - 1 roundings of half a unit in the last place (2^-8 relative)
// of a partial sum.
TEST_P(CommunicatorContract, BFloat16SumsStayWithinTheirRoundings) {
  GetParam().run([](Communicator& communicator) {
    const auto values = [](int rank) { return at::sin(at::arange(500, at::kFloat) * 0.37 + rank).to(at::kBFloat16); };
    at::Tensor truth = at::zeros({500}, at::kDouble);
    at::Tensor magnitude = at::zeros({500}, at::kDouble);
    for (int rank = 0; rank < communicator.size(); ++rank) {
      truth += values(rank).to(at::kDouble);
      magnitude += values(rank).to(at::kDouble).abs();
    }
    const at::Tensor sum = values(communicator.rank());
    all_reduce(communicator, sum);
    const at::Tensor bound = magnitude * ((communicator.size() - 1) / 256.0) + 1e-30;
    EXPECT_TRUE((sum.to(at::kDouble) - truth).abs().le(bound).all().item<bool>());
  });
}

TEST_P(CommunicatorContract, ReductionsUnderWayMayBeWaitedForInAnyOrder) {
  GetParam().run([](Communicator& communicator) {
    const at::Tensor first = at::full({7}, 1.0, at::kDouble);
    const at::Tensor second = at::full({5}, 10.0, at::kDouble);
    const at::Tensor received = at::zeros({communicator.size(), 2}, at::kDouble);
    const auto pending_first = communicator.start_all_reduce(first);
    const auto pending_second = communicator.start_all_reduce(second);
    const auto pending_third =
        communicator.start_all_to_all(at::full({communicator.size(), 2}, communicator.rank(), at::kDouble), received);
    pending_third->wait();
    pending_second->wait();
    pending_first->wait();
    for (int rank = 0; rank < communicator.size(); ++rank) EXPECT_EQ(received[rank][1].item<double>(), rank);
    EXPECT_TRUE(first.equal(at::full({7}, communicator.size(), at::kDouble)));
    EXPECT_TRUE(second.equal(at::full({5}, 10.0 * communicator.size(), at::kDouble)));
  });
}

TEST_P(CommunicatorContract, EmptyTensorsPass) {
  GetParam().run([](Communicator& communicator) {
    const at::Tensor nothing = at::empty({0, 4}, at::kFloat);
    all_reduce(communicator, nothing);
    communicator.broadcast(nothing, 0);
    EXPECT_EQ(all_gather(communicator, nothing).sizes(), (at::IntArrayRef{communicator.size(), 0, 4}));
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
    const at::Tensor all = all_gather(communicator, grid + 100 * communicator.rank());
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
    if (communicator.rank() % 2 == 0 || !GetParam().orders_duplicates_freely) {
      pending_a = communicator.start_all_reduce(a);
      pending_b = third->start_all_reduce(b);
    } else {  // the order between them is free
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
