// The data sets of a job, opened; phantom sets are written first where they are missing.
#pragma once

#include "data/shard_catalogue.hpp"
#include "distributed/communicator.hpp"
#include "logging/console.hpp"
#include "training/job_options.hpp"

namespace leda::training {

struct JobData {
  data::ShardCatalogue train;
  data::ShardCatalogue validation;
  data::ShardCatalogue test;
};

// Collective. Throws Error(data) for what is missing, damaged, or of several image sizes.
JobData open_job_data(const JobOptions& options, distributed::Communicator& communicator, logging::Console& console);

}  // namespace leda::training
