// What validation reports of a denoiser is what the result table says of it on the same slices.
#include <gtest/gtest.h>

#include <optional>

#include "distributed/core/single_process_communicator.hpp"
#include "evaluation/evaluation.hpp"
#include "logging/console.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/training/tiny_job.hpp"
#include "training/run/training_plans.hpp"
#include "training/stages/denoiser_stage.hpp"

namespace leda::training {
namespace {

TEST(DenoiserValidation, IsTheTablesRmseInsideTheBody) {
  const test::TemporaryFolder folder;
  test::write_tiny_phantoms(folder.path());
  const JobOptions options = test::tiny_job(folder.path());
  distributed::SingleProcessCommunicator alone;
  logging::Console console(0);
  const auto validation = data::ShardCatalogue::open(folder.path() / "validation");
  const ct::Window window = ct::window_of("leda");
  const StageContext context{options.training, options.distributed,       alone, console, validation,
                             window,           {at::kDouble, at::kCPU, 3}};
  DenoiserStage stage(context, options.denoise, denoiser_plan(options, {}), 0.0, std::nullopt);
  const auto report = stage.validate(1, {});
  ASSERT_TRUE(report);
  const auto denoise_hu = [&](const at::Tensor& low_dose_hu) {
    const at::Tensor low_dose = ct::to_network_range(low_dose_hu, window);
    return ct::to_hu(stage.denoise(low_dose.unsqueeze(0).unsqueeze(0))[0][0], window);
  };
  const auto table =
      evaluation::evaluate(validation, validation, {{"mine", 3, denoise_hu}}, {.window = window}, alone, console);
  ASSERT_TRUE(table);
  ASSERT_EQ(table->num_slices(), validation.num_slices()) << "patients of as many slices: means over both are the same";
  EXPECT_NEAR(report->criterion, table->rows.back().against.front().rmse_hu().mean, 1e-9);
  EXPECT_NEAR(report->figures[1].value, table->low_dose_rmse_hu(), 1e-9);
  EXPECT_EQ(report->figures[0].name, "rmse_hu");
  EXPECT_EQ(report->criterion_name, "RMSE inside the body");
}

}  // namespace
}  // namespace leda::training
