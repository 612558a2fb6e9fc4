#include "tests/training/tiny_job.hpp"

#include <gtest/gtest.h>

#include "data/making/phantom_dataset.hpp"
#include "data/shards/shard_catalogue.hpp"
#include "distributed/core/single_process_communicator.hpp"
#include "logging/console.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::test {

void write_tiny_phantoms(const std::filesystem::path& folder) {
  distributed::SingleProcessCommunicator alone;
  std::FILE* nowhere = std::fopen("/dev/null", "w");
  logging::Console console(0, nowhere, nowhere);
  std::int64_t first_patient = 0;
  for (const auto& [name, patients] : {std::pair{"train", 3}, {"validation", 1}, {"test", 1}}) {
    data::PhantomDatasetOptions options;
    options.folder = (folder / name).string();
    options.num_patients = patients;
    options.first_patient = first_patient;
    options.slices_per_patient = 4;
    options.slices_per_shard = 8;
    options.size = 64;
    data::write_phantom_dataset(options, alone, console);
    first_patient += patients;
  }
  std::fclose(nowhere);
}

training::JobOptions tiny_job(const std::filesystem::path& folder) {
  training::JobOptions job;
  job.data.folder = folder.string();
  job.pretrain.autoencoder.channels = 8;
  job.pretrain.autoencoder.decoder_blocks = 1;
  job.pretrain.autoencoder.strides = {4, 2, 1};
  job.pretrain.discriminator.channels = 8;
  job.pretrain.adversarial.start_step = 0;
  job.denoise.denoiser.channels = 6;
  job.denoise.training.crop = 32;
  job.training.global_batch = 4;
  job.training.precision = training::Precision::float64;
  job.training.validate_every_num_steps = 5;
  job.checkpoint_schedule.every_num_steps = 4;
  job.logging.every_num_steps = 3;
  job.logging.tensorboard = false;
  return job;
}

TEST(TinyJob, HasTheSlicesItPromises) {
  const TemporaryFolder folder;
  write_tiny_phantoms(folder.path());
  EXPECT_EQ(data::ShardCatalogue::open(folder.path() / "train").num_slices(), 12);
  EXPECT_EQ(data::ShardCatalogue::open(folder.path() / "validation").num_slices(), 4);
}

}  // namespace leda::test
