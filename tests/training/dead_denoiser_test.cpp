// A denoiser that only copies its input is found and stops the run.
#include <gtest/gtest.h>

#include <optional>

#include "base/error.hpp"
#include "distributed/core/single_process_communicator.hpp"
#include "logging/console.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/training/tiny_job.hpp"
#include "training/run/training_plans.hpp"
#include "training/stages/denoiser_stage.hpp"

namespace leda::training {
namespace {

TEST(DeadDenoiser, StopsTheRunAfterItsGraceAndNotBefore) {
  const test::TemporaryFolder folder;
  test::write_tiny_phantoms(folder.path());
  JobOptions options = test::tiny_job(folder.path());
  options.denoise.denoiser.zero_last_layer = true;  // the output is the input until it learns
  options.training.num_warm_up_steps = 10;
  distributed::SingleProcessCommunicator alone;
  logging::Console console(0);
  const auto validation = data::ShardCatalogue::open(folder.path() / "validation");
  const StageContext context{options.training,      options.distributed,      alone, console, validation,
                             ct::window_of("leda"), {at::kFloat, at::kCPU, 3}};
  DenoiserStage stage(context, options.denoise, denoiser_plan(options, {}), 0.0, std::nullopt);
  EXPECT_NO_THROW(stage.validate(209, {}));
  const std::string said = test::refusal_message(base::ExitCode::non_finite, [&] { stage.validate(210, {}); });
  EXPECT_NE(said.find("died"), std::string::npos) << said;
}

}  // namespace
}  // namespace leda::training
