#include "config/job_option_table.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <utility>

#include "base/error.hpp"
#include "storage/durable_file.hpp"
#include "tests/support/refusal.hpp"

namespace leda::config {
namespace {

using testing::HasSubstr;

struct BoundJob {
  BoundJob() { bind_job_options(table, job); }
  training::JobOptions job;
  OptionTable table;
};

TEST(JobOptionTable, EmbeddedJobIsQuickstartByteForByte) {
  EXPECT_EQ(std::string(embedded_job()),
            storage::read_text_file(std::filesystem::path(LEDA_SOURCE_FOLDER) / "configs" / "quickstart.cfg"));
}

TEST(JobOptionTable, DefaultsAndTheEmbeddedJobPassTheCheck) {
  BoundJob defaults;
  EXPECT_NO_THROW(check_job_options(defaults.job));
  BoundJob embedded;
  embedded.table.parse_text(embedded_job(), "the embedded job");
  EXPECT_NO_THROW(check_job_options(embedded.job));
  EXPECT_EQ(embedded.job.data.source, training::DataSource::phantoms);
}

TEST(JobOptionTable, EveryOptionCanBeSetToItsDumpedValue) {
  BoundJob first;
  first.table.parse_text(embedded_job(), "the embedded job");
  BoundJob second;
  for (const auto& [key, value] : first.table.values()) second.table.set(key, value, "test");
  EXPECT_EQ(second.table.values(), first.table.values());
  BoundJob third;
  third.table.parse_text(first.table.dump(), "the dump");
  EXPECT_EQ(third.table.values(), first.table.values());
}

TEST(JobOptionTable, EveryNameIsASectionAndAFieldAndDifferent) {
  BoundJob bound;
  std::set<std::string> names;
  for (const OptionDescription& option : bound.table.descriptions()) {
    EXPECT_TRUE(names.insert(option.key).second) << option.key;
    EXPECT_EQ(std::count(option.key.begin(), option.key.end(), '.'), 1) << option.key;
    EXPECT_FALSE(option.description.empty()) << option.key;
  }
}

// Another value than the default that the option's line allows.
std::string other_value(const OptionDescription& option) {
  if (option.key == "data.phantom_size") return "256";
  if (option.key == "denoiser.losses") return "l1:0.5";
  if (option.key == "data.window" || option.key == "evaluation.picture_window") return "-200:300";
  for (const std::string& choice : option.choices) {
    if (choice != option.text) return choice;
  }
  const auto says = [&](const char* words) { return option.kind.find(words) != std::string::npos; };
  return says("to 1") || says("below 1") || says("at most 1") ? "0.125" : "7";
}

TEST(JobOptionTable, EveryOptionIsBoundToAVariableOfItsOwn) {
  BoundJob defaults;
  for (const OptionDescription& option : defaults.table.descriptions()) {
    if (option.choices.size() == 1) continue;  // there is no other value
    BoundJob changed;
    changed.table.set(option.key, other_value(option), "test");
    const auto before = defaults.table.values();
    const auto after = changed.table.values();
    for (std::size_t i = 0; i < before.size(); ++i) {
      EXPECT_EQ(before[i] != after[i], before[i].first == option.key) << option.key << " and " << before[i].first;
    }
  }
}

TEST(JobOptionTable, EverySectionIsIntroducedOnceAndHasOptions) {
  BoundJob bound;
  std::vector<std::string> introduced, used;
  for (const SectionDescription& section : bound.table.sections()) introduced.push_back(section.name);
  for (const OptionDescription& option : bound.table.descriptions()) {
    if (used.empty() || used.back() != option.section()) used.push_back(option.section());
  }
  EXPECT_EQ(introduced, used);
}

TEST(JobOptionTable, LengthCadenceAndLoggingMayChangeOnResumeResultsMayNot) {
  BoundJob bound;
  const std::set<std::string> may{"denoiser.num_steps",
                                  "autoencoder.num_steps",
                                  "checkpoint.every_num_steps",
                                  "checkpoint.keep_last",
                                  "logging.tensorboard",
                                  "training.validate_every_num_steps",
                                  "run.max_seconds",
                                  "data.queue_depth",
                                  "distributed.overlap",
                                  "distributed.bucket_bytes",
                                  "distributed.non_finite_check",
                                  "training.on_non_finite",
                                  "training.max_consecutive_skips",
                                  "data.folder",
                                  "words.scores"};
  const std::set<std::string> may_not{"run.seed",
                                      "training.global_batch",
                                      "denoiser.channels",
                                      "leda.weight",
                                      "data.window",
                                      "autoencoder.strides",
                                      "vocabulary.file",
                                      "training.precision",
                                      "denoiser.learning_rate",
                                      "training.final_learning_rate_fraction",
                                      "data.phantom_seed",
                                      "distributed.wire_type",
                                      "distributed.reproducible",
                                      "words.source"};
  std::size_t num_seen = 0;
  for (const training::OptionValue& option : option_values(bound.table)) {
    if (!may.contains(option.name) && !may_not.contains(option.name)) continue;
    ++num_seen;
    EXPECT_EQ(option.may_change_on_resume, may.contains(option.name)) << option.name;
  }
  EXPECT_EQ(num_seen, may.size() + may_not.size());
}

struct BadValue {
  std::string key;
  std::string value;
};

class RefusedValue : public testing::TestWithParam<BadValue> {};

TEST_P(RefusedValue, IsNamedWithItsOption) {
  BoundJob bound;
  SCOPED_TRACE(GetParam().key + " = " + GetParam().value);
  const auto fault = test::refusal_of<base::ErrorOnAllRanks>(base::ExitCode::options, [&] {
    bound.table.set(GetParam().key, GetParam().value, "test");
    check_job_options(bound.job);
  });
  EXPECT_THAT(fault.text().what, testing::StartsWith("option " + GetParam().key));
  EXPECT_THAT(fault.text().value, HasSubstr(GetParam().value.empty() ? "empty" : GetParam().value));
  EXPECT_FALSE(fault.text().remedy.empty());
}

INSTANTIATE_TEST_SUITE_P(JobOptionTable, RefusedValue,
                         testing::ValuesIn(std::vector<BadValue>{{"run.stages", "train"},
                                                                 {"run.stages", ""},
                                                                 {"run.stages", "pretrain,train"},
                                                                 {"run.margin_seconds", "inf"},
                                                                 {"words.source", "clip"},
                                                                 {"words.thresholds", "0.9,0"},
                                                                 {"autoencoder.strides", "16,0,1"},
                                                                 {"discriminator.layers", "9"},

                                                                 {"run.device", "gpu"},
                                                                 {"run.num_denoiser_seeds", "0"},
                                                                 {"run.max_seconds", "-1"},
                                                                 {"data.source", "dicom"},
                                                                 {"data.window", "brain"},
                                                                 {"data.window", "300:-200"},
                                                                 {"data.queue_depth", "0"},
                                                                 {"data.phantom_size", "32"},
                                                                 {"data.phantom_size", "528"},
                                                                 {"data.phantom_size", "100"},
                                                                 {"data.num_train_patients", "0"},
                                                                 {"data.num_validation_patients", "0"},
                                                                 {"data.num_test_patients", "-3"},
                                                                 {"data.slices_per_patient", "0"},
                                                                 {"data.dose_fraction", "0"},
                                                                 {"data.dose_fraction", "1.5"},
                                                                 {"vocabulary.control", "sorted"},
                                                                 {"words.placement", "pixel"},
                                                                 {"words.air_weight", "-0.5"},
                                                                 {"words.balance", "1.5"},
                                                                 {"words.balance", "-0.1"},
                                                                 {"words.contrast", "unknown"},
                                                                 {"autoencoder.distance", "manhattan"},
                                                                 {"autoencoder.temperature", "0"},
                                                                 {"autoencoder.temperature", "inf"},
                                                                 {"autoencoder.semantic_weighting", "adaptive"},
                                                                 {"autoencoder.channels", "0"},
                                                                 {"autoencoder.vocabulary_tile", "0"},
                                                                 {"autoencoder.num_steps", "0"},
                                                                 {"autoencoder.global_batch", "-1"},
                                                                 {"autoencoder.learning_rate", "0"},
                                                                 {"autoencoder.learning_rate", "nan"},
                                                                 {"autoencoder.beta1", "1"},
                                                                 {"autoencoder.beta2", "-0.1"},
                                                                 {"autoencoder.semantic_weight", "-1"},
                                                                 {"autoencoder.commitment_weight", "-1"},
                                                                 {"autoencoder.codebook_weight", "-1"},
                                                                 {"autoencoder.perceptual_weight", "-1"},
                                                                 {"discriminator.weight", "-0.1"},
                                                                 {"discriminator.start_step", "-1"},
                                                                 {"discriminator.learning_rate", "-1"},
                                                                 {"discriminator.channels", "0"},
                                                                 {"discriminator.layers", "0"},
                                                                 {"discriminator.norm", "instance"},
                                                                 {"denoiser.type", "transformer"},
                                                                 {"denoiser.channels", "0"},
                                                                 {"denoiser.input_scale", "0"},
                                                                 {"denoiser.num_steps", "0"},
                                                                 {"denoiser.global_batch", "-1"},
                                                                 {"denoiser.learning_rate", "inf"},
                                                                 {"denoiser.beta1", "1.5"},
                                                                 {"denoiser.beta2", "1"},
                                                                 {"denoiser.crop", "-1"},
                                                                 {"denoiser.losses", "ssim"},
                                                                 {"denoiser.losses", ""},
                                                                 {"denoiser.losses", "mse,mse:2"},
                                                                 {"leda.weight", "-0.5"},
                                                                 {"leda.weight", "nan"},
                                                                 {"leda.token_term", "firm"},
                                                                 {"leda.token_weight", "-1"},
                                                                 {"leda.token_temperature", "0"},
                                                                 {"leda.token_temperature", "inf"},
                                                                 {"training.global_batch", "0"},
                                                                 {"training.max_micro_batch", "-1"},
                                                                 {"training.learning_rate_scaling", "sqrt"},
                                                                 {"training.num_warm_up_steps", "-1"},
                                                                 {"training.final_learning_rate_fraction", "1.5"},
                                                                 {"training.max_gradient_norm", "-1"},
                                                                 {"training.validate_every_num_steps", "0"},
                                                                 {"training.precision", "float16"},
                                                                 {"training.divergence_factor", "-1"},
                                                                 {"autoencoder.compatibility", "taming"},
                                                                 {"training.on_non_finite", "ignore"},
                                                                 {"training.max_consecutive_skips", "-1"},
                                                                 {"distributed.wire_type", "float16"},
                                                                 {"distributed.non_finite_check", "never"},
                                                                 {"checkpoint.every_num_steps", "0"},
                                                                 {"checkpoint.keep_last", "0"},
                                                                 {"distributed.bucket_bytes", "0"},
                                                                 {"distributed.first_bucket_bytes", "0"},
                                                                 {"distributed.threads_per_rank", "-1"},
                                                                 {"logging.every_num_steps", "0"},
                                                                 {"logging.progress_seconds", "-1"},
                                                                 {"evaluation.max_tuning_slices", "0"},
                                                                 {"evaluation.picture_window", "wider"}}));

TEST(JobOptionTable, AReproducibleSumIsNotRoundedOnTheWire) {
  BoundJob bound;
  bound.table.set("distributed.wire_type", "bfloat16", "test");
  EXPECT_NO_THROW(check_job_options(bound.job));
  bound.table.set("distributed.reproducible", "true", "test");
  EXPECT_THROW(check_job_options(bound.job), base::ErrorOnAllRanks);
}

TEST(JobOptionTable, SourceOfCandidateWordsAndItsFileGoTogether) {
  const auto refusal = [](const std::string& source, const std::string& scores, const std::string& restrict_to_tissue) {
    BoundJob bound;
    bound.table.set("words.source", source, "test");
    bound.table.set("words.scores", scores, "test");
    bound.table.set("words.restrict_to_tissue", restrict_to_tissue, "test");
    const auto error = test::thrown_error<base::ErrorOnAllRanks>([&] { check_job_options(bound.job); });
    return error ? error->text().what : std::string();
  };
  EXPECT_EQ(refusal("tissue", "", "false"), "");
  EXPECT_EQ(refusal("scores", "scores.h5", "false"), "");
  EXPECT_EQ(refusal("scores", "scores.h5", "true"), "");
  EXPECT_EQ(refusal("scores", "", "false"), "option words.scores");
  EXPECT_EQ(refusal("tissue", "scores.h5", "true"), "option words.restrict_to_tissue");
}

TEST(JobOptionTable, LatentsOfLengthOneNeedWordsOfLengthOne) {
  BoundJob bound;
  bound.table.set("autoencoder.normalise_latents", "true", "test");
  EXPECT_NO_THROW(check_job_options(bound.job));
  bound.table.set("vocabulary.normalise_rows", "false", "test");
  EXPECT_THROW(check_job_options(bound.job), base::ErrorOnAllRanks);
}

TEST(JobOptionTable, PublishedRefusesWhatThePublishedCodeHasOtherwiseByName) {
  const std::map<std::string, std::pair<std::string, std::string>> options{
      // name: allowed, refused
      {"autoencoder.strides", {"16,4,1", "4,2,1"}},
      {"autoencoder.attention_levels", {"", "4"}},
      {"data.window", {"leda", "abdomen"}},
      {"vocabulary.normalise_rows", {"false", "true"}},
      {"autoencoder.commitment_weight", {"1", "0.25"}},
      {"autoencoder.distance", {"euclidean", "cosine"}},
      {"autoencoder.temperature", {"1", "0.5"}},
      {"autoencoder.normalise_latents", {"false", "true"}},
      {"vocabulary.control", {"none", "shuffled"}},
      {"leda.token_term", {"hard", "soft"}},
      {"leda.token_weight", {"1", "2"}},
      {"leda.weight", {"0.5", "0.05"}}};
  const auto job_with = [&](const std::string& refused) {
    BoundJob bound;
    bound.table.set("autoencoder.compatibility", "published", "test");
    for (const auto& [name, values] : options) {
      bound.table.set(name, name == refused ? values.second : values.first, "test");
    }
    return bound.job;
  };
  EXPECT_NO_THROW(check_job_options(job_with("")));
  for (const auto& [name, values] : options) {
    const base::Error error = test::refusal_of(base::ExitCode::options, [&] { check_job_options(job_with(name)); });
    EXPECT_THAT(error.text().what, testing::HasSubstr(name));
    EXPECT_THAT(error.text().value, testing::HasSubstr("autoencoder.compatibility = published")) << name;
  }
}

TEST(JobOptionTable, PublishedLooksAtTheOptionsOfStagesThatRun) {
  BoundJob stage_2;
  stage_2.table.parse_text(
      "autoencoder.compatibility = published\nrun.stages = denoise\nautoencoder.strides = 4,2,1\n"
      "autoencoder.commitment_weight = 0.25\nvocabulary.normalise_rows = true\n",
      "test");
  EXPECT_NO_THROW(check_job_options(stage_2.job));
  stage_2.table.set("data.window", "wide", "test");
  EXPECT_THROW(check_job_options(stage_2.job), base::ErrorOnAllRanks);
  BoundJob stage_1;
  stage_1.table.parse_text(
      "autoencoder.compatibility = published\nrun.stages = pretrain\nleda.weight = 0.05\n"
      "vocabulary.normalise_rows = false\n",
      "test");
  EXPECT_NO_THROW(check_job_options(stage_1.job));
}

}  // namespace
}  // namespace leda::config
