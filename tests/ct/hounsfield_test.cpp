#include "ct/hounsfield.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <clocale>
#include <locale>
#include <string>

#include "base/error.hpp"
#include "ct/tissue.hpp"
#include "tests/support/refusal.hpp"

namespace leda::ct {
namespace {

struct CommaPoint : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

class CommaLocale {
 public:
  CommaLocale() : previous_(std::locale::global(std::locale(std::locale::classic(), new CommaPoint))) {}
  ~CommaLocale() { std::locale::global(previous_); }

 private:
  std::locale previous_;
};

TEST(Hounsfield, PresetsAreTheDocumentedIntervals) {
  EXPECT_EQ(window_of("leda"), (Window{-1000.0, 2000.0}));
  EXPECT_EQ(window_of("abdomen"), (Window{-160.0, 240.0}));
  EXPECT_EQ(window_of("wide"), (Window{-1000.0, 1000.0}));
}

TEST(Hounsfield, LimitsAndNamesReadEachOtherBack) {
  EXPECT_EQ(window_of("-200:300"), (Window{-200.0, 300.0}));
  for (const Window& window :
       {Window{-1000.0, 2000.0}, Window{-160.0, 240.0}, Window{-0.1, 1e-3}, Window{1.0 / 3.0, 1e6}})
    EXPECT_EQ(window_of(window_name(window)), window) << window_name(window);
  EXPECT_EQ(window_name({-160.0, 240.0}), "abdomen");
}

TEST(Hounsfield, LocaleWithDecimalCommaChangesNothing) {
  const CommaLocale comma;
  EXPECT_EQ(window_of("-1500.5:2500.25"), (Window{-1500.5, 2500.25}));
  EXPECT_EQ(window_name({-1500.5, 2500.25}), "-1500.5:2500.25");
}

TEST(Hounsfield, UnknownWindowIsAnOptionErrorThatListsTheNames) {
  for (const char* text :
       {"", "lung", "Leda", "1:", ":1", "1", "2:1", "1:1", "1:2:3", "nan:1", "0:inf", " 0:1", "1,5:2"}) {
    SCOPED_TRACE(text);
    const base::Error error = test::refusal_of(base::ExitCode::options, [&] { window_of(text); });
    EXPECT_EQ(error.text().value, text);
    for (const char* name : {"leda", "abdomen", "wide"}) EXPECT_NE(error.text().remedy.find(name), std::string::npos);
  }
}

TEST(Hounsfield, NetworkRangeIsClippedAndInverts) {
  const Window window{-160.0, 240.0};
  const at::Tensor hu = at::tensor({-2000.0, -160.0, 40.0, 240.0, 3000.0}, at::kDouble);
  EXPECT_TRUE(to_network_range(hu, window).equal(at::tensor({0.0, 0.0, 0.5, 1.0, 1.0}, at::kDouble)));
  const at::Tensor inside = at::linspace(-160.0, 240.0, 101, at::kDouble);
  EXPECT_LT((to_hu(to_network_range(inside, window), window) - inside).abs().max().item<double>(), 1e-12);
  EXPECT_DOUBLE_EQ(to_hu(at::tensor({1.5}, at::kDouble), window).item<double>(), 440.0);  // not clipped
}

TEST(Tissue, RangesAreHalfOpenAndCoverTheAxis) {
  const at::Tensor hu =
      at::tensor({-3000.0, -900.1, -900.0, -300.0, -30.0, 19.9, 20.0, 90.0, 199.0, 200.0, 2000.0, 1e10});
  const at::Tensor labels = at::tensor({0, 0, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7}, at::kByte);
  EXPECT_TRUE(tissue_of_hu(hu).equal(labels));
  EXPECT_TRUE(tissue_of_hu(hu.to(at::kShort).slice(0, 0, 10))
                  .equal(labels.slice(0, 0, 10).index_fill(0, at::tensor({1}, at::kLong), 1)));
  EXPECT_TRUE(tissue_of_hu(hu.reshape({3, 4})).equal(labels.reshape({3, 4})));
}

TEST(Tissue, TableIsInLabelOrder) {
  for (int i = 0; i < kNumTissues; ++i) EXPECT_EQ(static_cast<int>(kTissues[static_cast<std::size_t>(i)].tissue), i);
  for (std::size_t i = 1; i < kTissues.size(); ++i) EXPECT_GT(kTissues[i].upper_hu, kTissues[i - 1].upper_hu);
}

}  // namespace
}  // namespace leda::ct
