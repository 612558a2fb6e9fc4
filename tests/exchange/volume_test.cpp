#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/flip.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include "base/error.hpp"
#include "exchange/invesalius_project.hpp"
#include "exchange/raw_volume.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::exchange {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string message_of_data_error(const std::function<void()>& action) {
  return test::refusal_message(base::ExitCode::data, action);
}

class InvesaliusProject : public testing::Test {
 protected:
  // Python's tarfile writes the archive; `damage` names what is wrong with it.
  void make(const std::string& damage) {
    const test::CommandResult result = test::run_command(fmt::format(
        "{} {}/tests/exchange/make_project.py {} {}", LEDA_TEST_PYTHON, LEDA_SOURCE_FOLDER, path_.string(), damage));
    ASSERT_EQ(result.exit_code, 0) << result.output;
  }

  test::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "tiny.inv3";
};

TEST_F(InvesaliusProject, IsReadWithTheFrontUp) {
  make("none");
  const Volume volume = read_invesalius_project(path_);
  // Voxel (slice, row, column) was stored as 100 slice + 10 row + column - 200.
  const at::Tensor stored = (100 * at::arange(3, at::kLong).reshape({3, 1, 1}) +
                             10 * at::arange(4, at::kLong).reshape({1, 4, 1}) + at::arange(5, at::kLong) - 200)
                                .to(at::kShort);
  EXPECT_TRUE(volume.hu.equal(at::flip(stored, {1})));
  EXPECT_EQ(volume.spacing_mm, (std::array<double, 3>{0.75, 0.5, 1.5}));  // stored as x, y, z
}

TEST_F(InvesaliusProject, DamageIsNamedWithFileAndField) {
  for (const auto& [damage, field] : std::vector<std::pair<std::string, std::string>>{{"no_matrix", "matrix.dat"},
                                                                                      {"no_plist", "main.plist"},
                                                                                      {"bad_plist", "main.plist"},
                                                                                      {"short_matrix", "matrix.dat"},
                                                                                      {"no_spacing", "spacing"},
                                                                                      {"bad_spacing", "spacing"},
                                                                                      {"other_type", "dtype"},
                                                                                      {"truncated", "tiny.inv3"},
                                                                                      {"no_archive", "archive"}}) {
    make(damage);
    EXPECT_THAT(message_of_data_error([&] { read_invesalius_project(path_); }),
                AllOf(HasSubstr("tiny.inv3"), HasSubstr(field)))
        << damage;
  }
  EXPECT_THAT(message_of_data_error([&] { read_invesalius_project(folder_.path() / "missing.inv3"); }),
              HasSubstr("missing.inv3"));
}

TEST(RawVolume, NeedsExactlyTheNumbersOfItsShape) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "volume.raw";
  const std::int16_t values[6] = {-1000, 0, 1, 2, 3, 3000};
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(values), sizeof values);
  const Volume volume = read_raw_volume(path, {1, 2, 3}, {1.0, 2.0, 3.0});
  EXPECT_EQ(volume.hu[0][0][0].item<int>(), -1000);
  EXPECT_EQ(volume.hu[0][1][2].item<int>(), 3000);
  for (const std::array<std::int64_t, 3>& shape : {std::array<std::int64_t, 3>{1, 2, 2}, {1, 2, 4}, {-1, -2, 3}}) {
    EXPECT_THAT(message_of_data_error([&] { read_raw_volume(path, shape, {1.0, 1.0, 1.0}); }), HasSubstr("volume.raw"));
  }
  EXPECT_THAT(message_of_data_error([&] { read_raw_volume(path, {1, 2, 3}, {1.0, 0.0, 1.0}); }), HasSubstr("0 mm"));
  EXPECT_THAT(message_of_data_error([&] {
                read_raw_volume(folder.path() / "none", {1, 1, 1}, {1.0, 1.0, 1.0});
              }),
              HasSubstr("none"));
}

}  // namespace
}  // namespace leda::exchange
