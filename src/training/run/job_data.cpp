#include "training/run/job_data.hpp"

#include <fmt/format.h>

#include <array>
#include <filesystem>

#include "base/error.hpp"
#include "data/making/phantom_dataset.hpp"
#include "distributed/core/rank_zero.hpp"

namespace leda::training {
namespace {

// Shards small enough that every rank of a small job has some to write.
constexpr std::int64_t kSlicesPerShard = 16;

bool write_phantoms(const JobOptions& options, distributed::Communicator& communicator, logging::Console& console,
                    const std::function<bool()>& should_stop) {
  struct Part {
    const char* name;
    std::int64_t num_patients;
  };
  const std::array<Part, 3> parts{{{"train", options.data.num_train_patients},
                                   {"validation", options.data.num_validation_patients},
                                   {"test", options.data.num_test_patients}}};
  std::int64_t first_patient = 0;
  for (const Part& part : parts) {
    data::PhantomDatasetOptions phantoms;
    phantoms.folder = (std::filesystem::path(options.data.folder) / part.name).string();
    phantoms.num_patients = part.num_patients;
    phantoms.first_patient = first_patient;
    phantoms.slices_per_patient = options.data.slices_per_patient;
    phantoms.slices_per_shard = kSlicesPerShard;
    phantoms.size = static_cast<int>(options.data.phantom_size);
    phantoms.dose_fraction = options.data.dose_fraction;
    phantoms.seed = options.data.phantom_seed;
    if (!data::write_phantom_dataset(phantoms, communicator, console, should_stop)) return false;
    first_patient += part.num_patients;
  }
  return true;
}

data::ShardCatalogue open_part(const JobOptions& options, const char* name, logging::Console& console) {
  data::ShardCatalogue catalogue = data::ShardCatalogue::open(std::filesystem::path(options.data.folder) / name);
  console.info(fmt::format("  {:<10} {:>6} slices of {} patient{}, {} x {}, fingerprint {}", name,
                           catalogue.num_slices(), catalogue.patients().size(),
                           catalogue.patients().size() == 1 ? "" : "s", catalogue.rows(), catalogue.columns(),
                           catalogue.fingerprint()));
  return catalogue;
}

}  // namespace

bool prepare_job_data(const JobOptions& options, distributed::Communicator& communicator, logging::Console& console,
                      const std::function<bool()>& should_stop) {
  return options.data.source != DataSource::phantoms || write_phantoms(options, communicator, console, should_stop);
}

JobData open_job_data(const JobOptions& options, distributed::Communicator& communicator, logging::Console& console) {
  // Rank 0 looks first: what is wrong with the files is then said once.
  distributed::on_rank_zero(communicator, [&] {
    for (const char* name : {"train", "validation", "test"}) {
      data::ShardCatalogue::open(std::filesystem::path(options.data.folder) / name);
    }
    return std::string();
  });
  console.info(fmt::format("data in {}", options.data.folder));
  JobData data{open_part(options, "train", console), open_part(options, "validation", console),
               open_part(options, "test", console)};
  for (const data::ShardCatalogue* other : {&data.validation, &data.test}) {
    if (other->rows() == data.train.rows() && other->columns() == data.train.columns()) continue;
    throw base::ErrorOnAllRanks(base::ExitCode::data,
                                {.what = fmt::format("images of {} and {} differ in size", data.train.folder().string(),
                                                     other->folder().string()),
                                 .value = fmt::format("{} x {} and {} x {}", data.train.rows(), data.train.columns(),
                                                      other->rows(), other->columns()),
                                 .why = "networks trained on one would be judged on the other",
                                 .remedy = "import or split them with the same size"});
  }
  return data;
}

std::optional<language::WordScores> load_word_scores(const language::CandidateOptions& words,
                                                     const language::Vocabulary& vocabulary,
                                                     const data::ShardCatalogue& catalogue,
                                                     distributed::Communicator& communicator,
                                                     logging::Console& console) {
  if (words.source != language::CandidateSource::scores) return std::nullopt;
  std::vector<language::SliceIdentity> slices;
  for (std::int64_t id = 0; id < catalogue.num_slices(); ++id) {
    const data::SliceRecord& record = catalogue.record(id);
    slices.push_back({record.patient, record.series, record.position_mm, catalogue.normal_dose_checksum(id)});
  }
  const auto load = [&] { return language::WordScores::load(words.scores, vocabulary, slices); };
  const std::string facts = distributed::on_rank_zero(communicator, [&] {
    const language::WordScores scores = load();
    return fmt::format("{}, scores from {} on, hash {}", scores.model(), scores.lowest_score(), scores.hash());
  });
  console.info(fmt::format("word scores: {} slices by {}", slices.size(), facts));
  return load();
}

}  // namespace leda::training
