#include "explanation/explanation.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/normal.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.hpp"
#include "distributed/core/single_process_communicator.hpp"
#include "explanation/explanation_page.hpp"
#include "explanation/explanation_report.hpp"
#include "storage/durable_file.hpp"
#include "tests/evaluation/disc_dataset.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/thread_ranks.hpp"

namespace leda::explanation {
namespace {

constexpr const char* kNastyWord = "<b>&\"'word'</b>";
constexpr std::int64_t kNumWords = 40;

at::Tensor random_embeddings() {
  return at::normal(0.0, 0.05, {kNumWords, 6}, at::make_generator<at::CPUGeneratorImpl>(7), at::kDouble, at::kStrided,
                    at::kCPU, false);
}

std::shared_ptr<models::Autoencoder> tiny_autoencoder() {
  const models::AutoencoderOptions options{
      .channels = 4, .decoder_blocks = 1, .norm_groups = 2, .strides = {2, 1}, .vocabulary_tile = 16};
  return std::make_shared<models::Autoencoder>(options, random_embeddings(), models::TensorSettings{.seed = 3});
}

// Every word has to be escaped.
language::Vocabulary nasty_vocabulary() {
  language::Vocabulary vocabulary{.embeddings = random_embeddings().to(at::kFloat), .source = "a <model>"};
  for (std::int64_t k = 0; k < kNumWords; ++k) vocabulary.words.push_back(fmt::format("{}{}", kNastyWord, k));
  return vocabulary;
}

class Explain : public testing::Test {
 protected:
  ExplainOptions options(std::int64_t num_pictures) const {
    return {.slice_ids = chosen_slices(data_, {}),
            .num_pictures = num_pictures,
            .denoise_hu = [](const at::Tensor& image) { return 0.5 * (image + image.roll({12}, {0})); }};
  }

  std::optional<ExplainedSlices> explain_with(const ExplainOptions& wanted, distributed::Communicator& communicator) {
    const evaluation::WordReader reader(tiny_autoencoder(), {-1000.0, 2000.0}, "tiny.safetensors");
    logging::Console console(communicator.rank(), quiet_.get(), quiet_.get());
    return explain(data_, reader, wanted, communicator, console);
  }

  Explanation explain_alone(const ExplainOptions& wanted) {
    distributed::SingleProcessCommunicator alone;
    return explain_with(wanted, alone)->explanation;
  }

  test::TemporaryFolder folder_;
  data::ShardCatalogue data_ = test::disc_dataset(folder_.path() / "data", 7, 1);
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> quiet_{std::fopen("/dev/null", "w"), std::fclose};
};

TEST_F(Explain, FilesAreTheSameOnAnyNumberOfRanks) {
  std::vector<std::string> json, page;
  for (const int num_ranks : {1, 2, 3}) {
    const auto output = folder_.path() / std::to_string(num_ranks);
    test::run_ranks(num_ranks, [&](distributed::Communicator& communicator) {
      const ExplainedSlices slices = *explain_with(options(2), communicator);
      write_explanation(output, slices, data_, nasty_vocabulary(), {}, {}, communicator);
    });
    json.push_back(storage::read_text_file(output / "explanation.json"));
    page.push_back(storage::read_text_file(output / "explanation.html"));
  }
  EXPECT_EQ(json[0], json[1]);
  EXPECT_EQ(json[0], json[2]);
  EXPECT_EQ(page[0], page[1]);
  EXPECT_EQ(page[0], page[2]);
  std::int64_t num_changed = 0;
  const nlohmann::json found = nlohmann::json::parse(json[0]);
  for (const auto& level : found["levels"]) {
    for (const auto& table : level["changes"]) num_changed += table["num_changed"].get<std::int64_t>();
  }
  EXPECT_GT(num_changed, 0) << "a test without a change shows nothing";
}

TEST_F(Explain, NumbersAreThoseOfItsOwnWords) {
  const Explanation explanation = explain_alone(options(0));
  EXPECT_EQ(explanation.images, (std::vector<std::string>{"low dose", "denoised", "normal dose"}));
  ASSERT_EQ(explanation.levels.size(), 2u);
  const evaluation::WordReader reader(tiny_autoencoder(), {-1000.0, 2000.0}, "tiny.safetensors");
  std::int64_t num_same = 0;
  for (std::int64_t id = 0; id < 7; ++id) {
    const data::Slice slice = data_.read_slice(id, {.low_dose = true});
    const at::Tensor low = reader.read(slice.low_dose_hu, false)[1].tokens;
    const at::Tensor normal = reader.read(slice.normal_dose_hu, false)[1].tokens;
    num_same += low.eq(normal).sum().item<std::int64_t>();
  }
  const LevelExplanation& fine = explanation.levels[1];
  EXPECT_EQ(fine.rows, 3);
  EXPECT_EQ(fine.num_positions, 7 * 9);
  EXPECT_NEAR(fine.agreement[0].mean.match_rate, static_cast<double>(num_same) / (7.0 * 9.0), 1e-12);
  std::int64_t counted = 0;
  for (const WordRow& word : fine.words) counted += word.total();
  EXPECT_EQ(counted, 3 * 7 * 9);
}

TEST_F(Explain, WithoutDenoiserAndForOneLevelOfOnePatient) {
  ExplainOptions wanted{.slice_ids = chosen_slices(data_, {.patient = "patient 1"}), .levels = {2}, .num_pictures = 0};
  EXPECT_EQ(wanted.slice_ids, (std::vector<std::int64_t>{2, 3}));
  const Explanation explanation = explain_alone(wanted);
  EXPECT_EQ(explanation.images, (std::vector<std::string>{"low dose", "normal dose"}));
  ASSERT_EQ(explanation.levels.size(), 1u);
  EXPECT_EQ(explanation.levels[0].level, 2);
  EXPECT_FALSE(explanation.levels[0].gain);
}

TEST_F(Explain, PageIsWellFormedSelfContainedAndEscapesEveryWord) {
  distributed::SingleProcessCommunicator alone;
  const ExplainedSlices slices = *explain_with(options(2), alone);
  write_explanation(folder_.path() / "out", slices, data_, nasty_vocabulary(), {.data_folder = "a&b"}, {}, alone);
  const auto page = folder_.path() / "out" / "explanation.html";
  const std::string script = std::string(LEDA_SOURCE_FOLDER) + "/tests/support/offline_page_reader.py";
  const test::CommandResult result =
      test::run_command(fmt::format("{} {} {}", LEDA_TEST_PYTHON, script, page.string()));
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(result.output.substr(0, 2), "4\n") << "two slices of two levels";
  const std::string word =
      nasty_vocabulary().words.at(static_cast<std::size_t>(slices.explanation.levels[0].words[0].token));
  EXPECT_NE(result.output.find("\n" + word + "\n"), std::string::npos) << "read back as it was";
  EXPECT_EQ(storage::read_text_file(page).find("<b>"), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(folder_.path() / "out" / "slice_000001_level_2.png"));
}

TEST(ExplanationPage, HoldsTheFrequentWordsOfALargeVocabulary) {
  constexpr std::int64_t kMany = 50000;
  language::Vocabulary vocabulary;
  LevelExplanation level{.level = 3, .cell_pixels = 16, .rows = 32, .columns = 32, .num_positions = kMany};
  ChangeTable changes{.from_image = "low dose", .to_image = "normal dose", .num_changed = kMany};
  for (std::int64_t k = 0; k < kMany; ++k) {
    vocabulary.words.push_back(fmt::format("word{}", k));
    level.words.push_back({.token = k, .counts = {1, 1}, .margins = {0.5, 0.5}});
    changes.rows.push_back({.from = k, .to = kMany - 1 - k, .count = 1, .num_slices = 1, .positions = {{0, 1, 2}}});
  }
  level.agreement.push_back({.image = "low dose", .by_patient = {{"A", 1, {}}}});
  level.changes.push_back(std::move(changes));
  Explanation explanation{.images = {"low dose", "normal dose"}, .slice_ids = {0}, .patients = {"A"}};
  explanation.levels.push_back(std::move(level));
  const WordNumbers numbers(explanation, 16);
  const std::string page = to_html(explanation, vocabulary, {}, numbers, {}, {});
  EXPECT_NE(page.find("<td class=\"text\">word15</td>"), std::string::npos);
  EXPECT_NE(page.find("of 50000 words"), std::string::npos);
  EXPECT_LT(page.size(), 50000u) << "not the whole vocabulary";
  EXPECT_EQ(nlohmann::json::parse(to_json(explanation, vocabulary, {}))["levels"][0]["words"].size(), 50000u);
}

TEST_F(Explain, RefusesWhatCannotBeMeant) {
  using test::exit_code_of;
  EXPECT_EQ(exit_code_of([&] { chosen_slices(data_, {.slices = {0, 7}}); }), base::ExitCode::options);
  EXPECT_EQ(exit_code_of([&] { chosen_slices(data_, {.slices = {-1}}); }), base::ExitCode::options);
  EXPECT_EQ(exit_code_of([&] { chosen_slices(data_, {.patient = "nobody"}); }), base::ExitCode::options);
  EXPECT_EQ(exit_code_of([&] { chosen_slices(data_, {.series = "none"}); }), base::ExitCode::options);
  EXPECT_EQ(exit_code_of([&] { chosen_slices(data_, {.slices = {0}, .patient = "patient 1"}); }),
            base::ExitCode::options);
  ExplainOptions wanted = options(0);
  wanted.levels = {3};
  EXPECT_EQ(exit_code_of([&] { explain_alone(wanted); }), base::ExitCode::options);
  wanted = options(0);
  wanted.denoise_hu = [](const at::Tensor& image) {
    return at::full_like(image, std::numeric_limits<double>::quiet_NaN());
  };
  EXPECT_EQ(exit_code_of([&] { explain_alone(wanted); }), base::ExitCode::non_finite);
}

TEST_F(Explain, AutoencoderWithNanIsNamedByEntry) {
  const std::shared_ptr<models::Autoencoder> broken = tiny_autoencoder();
  broken->tensors().freeze();
  const models::NamedTensor& entry = broken->tensors().parameters[5];
  entry.tensor.fill_(std::numeric_limits<double>::quiet_NaN());
  const base::Error error = test::refusal_of(base::ExitCode::data, [&] {
    const evaluation::WordReader reader(broken, {-1000.0, 2000.0}, "broken.safetensors");
  });
  EXPECT_NE(error.text().what.find("broken.safetensors: entry " + entry.name), std::string::npos);
}

TEST_F(Explain, StopsOnRequestWithoutAResult) {
  ExplainOptions wanted = options(0);
  int num_asked = 0;
  wanted.should_stop = [&] { return ++num_asked == 3; };
  distributed::SingleProcessCommunicator alone;
  EXPECT_FALSE(explain_with(wanted, alone));
}

TEST_F(Explain, WritesNothingWhenStoppedAmongThePicturesOnAnyRank) {
  for (const int num_ranks : {1, 2}) {
    test::run_ranks(num_ranks, [&](distributed::Communicator& communicator) {
      const ExplainedSlices slices = *explain_with(options(7), communicator);
      int num_asked = 0;
      EXPECT_FALSE(write_explanation(folder_.path() / "out", slices, data_, nasty_vocabulary(), {}, {}, communicator,
                                     [&] { return ++num_asked == 3; }));
      EXPECT_EQ(num_asked, 3);
    });
  }
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "out"));
}

TEST_F(Explain, LegendHasEveryNumberThatTheMapMayShow) {
  distributed::SingleProcessCommunicator alone;
  const ExplainedSlices slices = *explain_with(options(1), alone);
  const WordNumbers numbers(slices.explanation, 16);
  const PictureSlice& slice = slices.pictures.begin()->second;
  const at::Tensor picture = draw_slice_words(slice, slices.explanation, 2, nasty_vocabulary(), numbers,
                                              {.legend_length = 1}, "three panels above two and the legend");
  const at::Tensor legend = picture.slice(0, picture.size(0) / 2 + 20).slice(1, 2 * picture.size(1) / 3);
  std::set<std::int64_t> tokens;
  for (const auto& image : slice.words) {
    const at::Tensor all = image[1].tokens.contiguous();
    tokens.insert(all.const_data_ptr<std::int64_t>(), all.const_data_ptr<std::int64_t>() + all.numel());
  }
  int num_numbered = 0;
  for (const std::int64_t token : tokens) {
    if (numbers.number(token).empty()) continue;
    ++num_numbered;
    at::Tensor is_swatch = legend.select(2, 0).eq(numbers.colour(token)[0]);
    for (std::int64_t k = 1; k < 3; ++k) {
      is_swatch = is_swatch * legend.select(2, k).eq(numbers.colour(token)[static_cast<std::size_t>(k)]);
    }
    EXPECT_EQ(is_swatch.sum().item<std::int64_t>(), 14 * 14) << numbers.number(token);
  }
  EXPECT_GT(num_numbered, 1) << "a legend of one row shows nothing";
}

TEST(Base64, EqualsTheExamplesOfTheStandard) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64(std::string("\xff\xfe\x00", 3)), "//4A");
}

}  // namespace
}  // namespace leda::explanation
