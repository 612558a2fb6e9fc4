#include "training/run/run_options_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "distributed/core/single_process_communicator.hpp"
#include "storage/durable_file.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/thread_ranks.hpp"

namespace leda::training {
namespace {

using testing::HasSubstr;
using testing::Not;

// A run with a checkpoint may not change its options; what is in it does not matter here.
void pretend_checkpoint(const std::filesystem::path& run_folder) {
  std::filesystem::create_directories(run_folder / "pretrain" / "checkpoints" / "step_00000010");
}

class RunOptionsFile : public testing::Test {
 protected:
  std::string refusal(const OptionValues& values) {
    const auto fault =
        test::thrown_error<base::ErrorOnAllRanks>([&] { keep_run_options(folder.path(), values, alone); });
    if (!fault) return "";
    EXPECT_EQ(fault->exit_code(), base::ExitCode::options);
    return fault->what();
  }
  std::string file() const { return storage::read_text_file(folder.path() / "options.cfg"); }

  const test::TemporaryFolder folder;
  distributed::SingleProcessCommunicator alone;
  const OptionValues first{{"run.seed", "1"},
                           {"leda.weight", "0.5"},
                           {"leda.autoencoder", ""},
                           {"denoiser.crop", "64"},
                           {"denoiser.num_steps", "100", true},
                           {"logging.every_num_steps", "50", true}};
};

TEST_F(RunOptionsFile, IsWrittenOnceAndAcceptsTheSameOptions) {
  EXPECT_EQ(refusal(first), "");
  EXPECT_EQ(file(),
            "run.seed = 1\nleda.weight = 0.5\nleda.autoencoder = \ndenoiser.crop = 64\n"
            "denoiser.num_steps = 100\nlogging.every_num_steps = 50\n");
  EXPECT_EQ(refusal(first), "");
}

TEST_F(RunOptionsFile, EveryForbiddenChangeIsNamedWithBothValuesAndTheFileStays) {
  ASSERT_EQ(refusal(first), "");
  pretend_checkpoint(folder.path());
  const std::string before = file();
  OptionValues changed = first;
  changed[0].value = "2";
  changed[2].value = "other run/autoencoder.safetensors";
  changed[5].value = "7";
  EXPECT_THAT(refusal(changed),
              AllOf(HasSubstr("run.seed: was '1', is '2'"),
                    HasSubstr("leda.autoencoder: was '', is 'other run/autoencoder.safetensors'"),
                    HasSubstr("--new-run"), Not(HasSubstr("logging.every_num_steps")), Not(HasSubstr("leda.weight"))));
  EXPECT_EQ(file(), before);
}

TEST_F(RunOptionsFile, ARunWithoutACheckpointMayStillBeCorrected) {
  ASSERT_EQ(refusal(first), "");
  OptionValues corrected = first;
  corrected[3].value = "32";
  EXPECT_EQ(refusal(corrected), "");
  EXPECT_NE(file().find("denoiser.crop = 32"), std::string::npos);
}

TEST_F(RunOptionsFile, HarmlessChangesAreTakenOver) {
  ASSERT_EQ(refusal(first), "");
  OptionValues changed = first;
  changed[4].value = "200";
  changed[5].value = "7";
  EXPECT_EQ(refusal(changed), "");
  EXPECT_THAT(file(), AllOf(HasSubstr("denoiser.num_steps = 200\n"), HasSubstr("logging.every_num_steps = 7\n")));
}

TEST_F(RunOptionsFile, AnOptionThatIsNewSinceThenIsNoChange) {
  ASSERT_EQ(refusal(first), "");
  OptionValues more = first;
  more.emplace_back("denoiser.new_option", "3");
  EXPECT_EQ(refusal(more), "");
}

TEST(RunOptionsOfRanks, AllRanksRefuseWhatRankZeroFinds) {
  const test::TemporaryFolder folder;
  test::run_ranks(3, [&](distributed::Communicator& ranks) {
    keep_run_options(folder.path(), {{"run.seed", "1"}}, ranks);
    if (ranks.rank() == 0) pretend_checkpoint(folder.path());
    ranks.barrier();
    EXPECT_THROW(keep_run_options(folder.path(), {{"run.seed", "2"}}, ranks), base::ErrorOnAllRanks);
  });
}

}  // namespace
}  // namespace leda::training
