// The data sets of a job: phantom sets are written where they are missing, then all are opened.
#pragma once

#include <functional>
#include <optional>

#include "data/shards/shard_catalogue.hpp"
#include "distributed/core/communicator.hpp"
#include "language/word_scores.hpp"
#include "logging/console.hpp"
#include "training/options/job_options.hpp"

namespace leda::training {

struct JobData {
  data::ShardCatalogue train;
  data::ShardCatalogue validation;
  data::ShardCatalogue test;
};

// Collective. Writes the phantoms of data.source = phantoms that are missing. False where `should_stop`, asked as often
// on every rank and of one answer on all, said so.
bool prepare_job_data(const JobOptions& options, distributed::Communicator& communicator, logging::Console& console,
                      const std::function<bool()>& should_stop);

// Collective. Throws Error(data) for what is missing, damaged, or of several image sizes.
JobData open_job_data(const JobOptions& options, distributed::Communicator& communicator, logging::Console& console);

// Of the slices of `catalogue`, whose ids count them; nullopt where candidate words come from tissues. Collective.
// Throws ErrorOnAllRanks(data), naming the first slice that words.scores does not hold, say.
std::optional<language::WordScores> load_word_scores(const language::CandidateOptions& words,
                                                     const language::Vocabulary& vocabulary,
                                                     const data::ShardCatalogue& catalogue,
                                                     distributed::Communicator& communicator,
                                                     logging::Console& console);

}  // namespace leda::training
