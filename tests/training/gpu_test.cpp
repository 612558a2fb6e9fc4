// One rank on one GPU: the same first step as on the CPU. Skipped, loudly, where there is no GPU.
#include <ATen/Context.h>
#include <gtest/gtest.h>

#include <cmath>

#include "distributed/core/single_process_communicator.hpp"
#include "language/vocabulary.hpp"
#include "logging/console.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/training/tiny_job.hpp"
#include "training/run/training_plans.hpp"
#include "training/stages/pretrain_stage.hpp"

namespace leda::training {
namespace {

double first_loss(const JobOptions& options, at::Device device) {
  distributed::SingleProcessCommunicator alone;
  logging::Console console(0);
  const auto training = data::ShardCatalogue::open(std::filesystem::path(options.data.folder) / "train");
  const StageContext context{options.training,      options.distributed,     alone, console, training,
                             ct::window_of("leda"), {at::kDouble, device, 3}};
  PretrainStage stage(context, options.pretrain, pretrain_plan(options), language::load_vocabulary("builtin"));
  const data::SliceLoader loader(training, {.window = context.window, .dtype = at::kDouble, .needs_tissue = true});
  const data::EpochOrder order(training.num_slices(), 3);
  for (const auto& [name, value] : stage.train_step(data::load_step(loader, order, {4, 4, 0, 1}, 0), true)) {
    if (name == "loss") return value.item<double>();
  }
  return NAN;
}

TEST(Gpu, FirstStepOfStage1EqualsTheCpus) {
  if (!at::hasCUDA()) GTEST_SKIP() << "NO GPU HERE: the CUDA path of stage 1 was not run";
  const test::TemporaryFolder folder;
  test::write_tiny_phantoms(folder.path());
  const JobOptions options = test::tiny_job(folder.path());
  const double on_cpu = first_loss(options, at::kCPU);
  EXPECT_NEAR(first_loss(options, at::Device(at::kCUDA, 0)), on_cpu, 1e-9 * std::abs(on_cpu));
}

}  // namespace
}  // namespace leda::training
