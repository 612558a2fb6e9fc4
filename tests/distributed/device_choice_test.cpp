#include "distributed/device_choice.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "tests/support/refusal.hpp"

namespace leda::distributed {
namespace {

base::ErrorText error_of(const std::function<void()>& call) {
  return test::refusal_of<base::ErrorOnAllRanks>(base::ExitCode::options, call).text();
}

TEST(DeviceChoice, TheLocalRankCountsAmongTheVisibleDevices) {
  EXPECT_EQ(choose_devices({{"a", 0, 4}, {"a", 1, 4}, {"b", 0, 2}, {"b", 1, 2}}), (std::vector<int>{0, 1, 0, 1}));
}

TEST(DeviceChoice, ADeviceShownAloneIsDevice0) {
  EXPECT_EQ(choose_devices({{"a", 0, 1}, {"a", 1, 1}, {"a", 2, 1}}), (std::vector<int>{0, 0, 0}));
}

TEST(DeviceChoice, ARankWithoutADeviceIsNamed) {
  const auto text = error_of([] { choose_devices({{"a", 0, 2}, {"a", 1, 2}, {"a", 2, 2}}); });
  EXPECT_NE(text.what.find("rank 2"), std::string::npos) << text.what;
  EXPECT_EQ(text.value, "it is local rank 2 on a, and sees 2 GPUs");
  EXPECT_NE(error_of([] { choose_devices({{"a", 0, 1}, {"b", 0, 0}}); }).what.find("rank 1"), std::string::npos);
}

TEST(DeviceChoice, RanksWithOneDeviceAreBothNamed) {
  require_distinct_devices({{"1", "a", "0000:01:00.0"}, {"1", "a", "0000:02:00.0"}, {"2", "a", "0000:01:00.0"}});
  const auto text = error_of([] {
    require_distinct_devices({{"1", "a", "0000:01:00.0"},
                              {"1", "a", "0000:02:00.0"},
                              {"2", "b", "0000:02:00.0"},
                              {"1", "a", "0000:02:00.0"}});
  });
  EXPECT_EQ(text.what, "ranks 1 and 3 have the same GPU");
  EXPECT_EQ(text.value, "device 0000:02:00.0 on a");
}

}  // namespace
}  // namespace leda::distributed
