#include "evaluation/evaluation.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full_like.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.hpp"
#include "distributed/core/single_process_communicator.hpp"
#include "evaluation/body_mask.hpp"
#include "evaluation/comparison_picture.hpp"
#include "evaluation/evaluation_report.hpp"
#include "storage/durable_file.hpp"
#include "tests/evaluation/disc_dataset.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/thread_ranks.hpp"

namespace leda::evaluation {
namespace {

const ct::Window kWindow{-1000.0, 2000.0};

// Moves soft tissue towards its value; every seed by another share.
Method towards_tissue(const std::string& name, std::int64_t seed, double share) {
  constexpr double kTissueHu = 50.0;
  return {.name = name, .seed = seed, .denoise_hu = [=](const at::Tensor& low_dose_hu) {
            const auto is_tissue = (low_dose_hu - kTissueHu).abs().lt(180.0);
            return low_dose_hu + share * (kTissueHu - low_dose_hu) * is_tissue;
          }};
}

std::vector<Method> four_methods() {
  return {towards_tissue("without LEDA", 0, 0.50), towards_tissue("without LEDA", 1, 0.54),
          towards_tissue("with LEDA", 0, 0.60), towards_tissue("with LEDA", 1, 0.64)};
}

class Evaluation : public testing::Test {
 protected:
  EvaluationResult evaluate_with(const std::vector<Method>& methods, distributed::Communicator& communicator) {
    logging::Console console(communicator.rank(), quiet_.get(), quiet_.get());
    return evaluate(test_, validation_, methods, {.window = kWindow, .max_tuning_slices = 3}, communicator, console)
        .value();
  }

  EvaluationResult evaluate_alone(const std::vector<Method>& methods) {
    distributed::SingleProcessCommunicator alone;
    return evaluate_with(methods, alone);
  }

  test::TemporaryFolder folder_;
  data::ShardCatalogue test_ = test::disc_dataset(folder_.path() / "test", 7, 1, true);
  data::ShardCatalogue validation_ = test::disc_dataset(folder_.path() / "validation", 4, 2);
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> quiet_{std::fopen("/dev/null", "w"), &std::fclose};
};

TEST_F(Evaluation, StopsBeforeTheRoundOfSlicesWhereItIsAskedTo) {
  constexpr int kNumRanks = 2;
  const std::int64_t num_measuring_rounds = (test_.num_slices() + kNumRanks - 1) / kNumRanks;
  std::array<int, kNumRanks> num_asked_in_all{};
  test::run_ranks(kNumRanks, [&](distributed::Communicator& communicator) {
    logging::Console console(communicator.rank(), quiet_.get(), quiet_.get());
    EvaluationOptions options{.window = kWindow, .max_tuning_slices = 3};
    int num_asked = 0;
    int stops_at = 0;  // never
    options.should_stop = [&] { return ++num_asked == stops_at; };
    EXPECT_TRUE(evaluate(test_, validation_, {}, options, communicator, console).has_value());
    const int num_in_all = num_asked;
    EXPECT_GT(num_in_all, num_measuring_rounds) << "asked in tuning, too";
    for (const int round : {2, num_in_all}) {  // while tuning, and before the last slices
      stops_at = round;
      num_asked = 0;
      EXPECT_FALSE(evaluate(test_, validation_, {}, options, communicator, console).has_value());
      EXPECT_EQ(num_asked, round);
    }
    num_asked_in_all[static_cast<std::size_t>(communicator.rank())] = num_in_all;
  });
  // As often on a rank that has no slice in the last round.
  EXPECT_EQ(num_asked_in_all[0], num_asked_in_all[1]);
}

TEST_F(Evaluation, RowsAreInTheTablesOrderAndFiguresAreMeansOverSlices) {
  const EvaluationResult result = evaluate_alone(four_methods());
  ASSERT_EQ(result.rows.size(), 5u);
  EXPECT_EQ(result.rows[0].name, "low dose");
  EXPECT_EQ(result.rows[1].name, "best Gaussian");
  EXPECT_EQ(result.rows[2].name, "non-local means");
  EXPECT_EQ(result.rows[3].name, "without LEDA");
  EXPECT_EQ(result.rows[4].name, "with LEDA");
  EXPECT_EQ(result.num_slices(), 6);
  EXPECT_EQ(result.num_slices_left_out, 1);  // air
  EXPECT_EQ(result.num_patients(), 4);
  EXPECT_EQ(result.references, (std::vector<std::string>{"normal dose", "noise free"}));

  double sum = 0.0;
  for (const std::int64_t id : result.slice_ids) {
    const data::Slice slice = test_.read_slice(id, {.low_dose = true});
    const at::Tensor difference = (slice.low_dose_hu.clamp(-1000, 2000) - slice.normal_dose_hu.clamp(-1000, 2000));
    const at::Tensor body = body_mask(slice.normal_dose_hu).to(at::kBool);
    sum += std::sqrt(difference.masked_select(body).to(at::kDouble).square().mean().item<double>());
  }
  EXPECT_NEAR(result.low_dose_rmse_hu(), sum / 6.0, 1e-10);
  EXPECT_NEAR(result.low_dose_rmse_hu(), test::kDiscNoiseHu, 1.0);
  EXPECT_EQ(result.rows[0].against[0].gain_percent.mean, 0.0);
  EXPECT_GT(result.rows[2].against[1].gain_percent.mean, 40.0);
}

TEST_F(Evaluation, SeedsOfAMethodBecomeOneRowWithTheirSpread) {
  const EvaluationResult result = evaluate_alone(four_methods());
  const EvaluationResult seed_0 = evaluate_alone({four_methods()[0]});
  const EvaluationResult seed_1 = evaluate_alone({four_methods()[1]});
  const ReferenceFigures& both = result.rows[3].against[0];
  const double a = seed_0.rows[3].against[0].rmse_hu().mean;
  const double b = seed_1.rows[3].against[0].rmse_hu().mean;
  EXPECT_EQ(result.rows[3].seeds, (std::vector<std::int64_t>{0, 1}));
  EXPECT_NEAR(both.rmse_hu().mean, 0.5 * (a + b), 1e-12);
  EXPECT_NEAR(both.rmse_hu().deviation, std::abs(a - b) / std::sqrt(2.0), 1e-12);
  EXPECT_NEAR(both.gain_percent.mean, 100.0 * (1.0 - 0.5 * (a + b) / result.low_dose_rmse_hu()), 1e-10);
  ASSERT_EQ(result.comparisons.size(), 2u);
  EXPECT_EQ(result.comparisons[0].first, "without LEDA");
  EXPECT_EQ(result.comparisons[0].second, "with LEDA");
  EXPECT_EQ(result.comparisons[0].unit, "slices");  // 4 patients are too few to draw from
  EXPECT_NEAR(result.comparisons[0].rmse_hu.mean,
              result.rows[4].against[0].rmse_hu().mean - result.rows[3].against[0].rmse_hu().mean, 1e-12);
  double over_patients = 0.0;
  for (const PatientFigures& patient : both.by_patient) {
    over_patients += patient.mean[kRmseFigure] * static_cast<double>(patient.num_slices);
  }
  EXPECT_NEAR(over_patients / 6.0, both.rmse_hu().mean, 1e-12);
}

TEST_F(Evaluation, IsTheSameOnOneAndOnThreeRanks) {
  const std::string alone = to_json(evaluate_alone(four_methods()));
  std::mutex mutex;
  std::vector<std::string> on_three_ranks;
  test::run_ranks(3, [&](distributed::Communicator& communicator) {
    const std::string json = to_json(evaluate_with(four_methods(), communicator));
    const std::lock_guard lock(mutex);
    on_three_ranks.push_back(json);
  });
  ASSERT_EQ(on_three_ranks.size(), 3u);
  for (const std::string& json : on_three_ranks) EXPECT_EQ(json, alone);
}

TEST_F(Evaluation, MethodsAreGivenClippedImagesInHu) {
  distributed::SingleProcessCommunicator alone;
  const Method method{.name = "identity", .seed = 0, .denoise_hu = [&](const at::Tensor& low_dose_hu) {
                        EXPECT_EQ(low_dose_hu.scalar_type(), at::kDouble);
                        EXPECT_EQ(low_dose_hu.sizes(), (at::IntArrayRef{test::kDiscSide, test::kDiscSide}));
                        EXPECT_GE(low_dose_hu.min().item<double>(), kWindow.low_hu);
                        return low_dose_hu;
                      }};
  const EvaluationResult result = evaluate_with({method}, alone);
  EXPECT_EQ(result.rows[3].against[0].rmse_hu().mean, result.low_dose_rmse_hu());
}

TEST_F(Evaluation, NamesADeadNetwork) {
  const Method dead{
      .name = "with LEDA", .seed = 4, .denoise_hu = [](const at::Tensor& low_dose_hu) { return low_dose_hu + 30.0; }};
  const EvaluationResult result = evaluate_alone({towards_tissue("with LEDA", 3, 0.5), dead});
  EXPECT_EQ(result.rows[3].dead_seeds, (std::vector<std::int64_t>{4}));
  EXPECT_NE(table_text(result).find("DEAD: with LEDA, seed 4"), std::string::npos);
}

TEST_F(Evaluation, RefusesTheNamesOfRowsThatEveryTableHas) {
  const EvaluationResult result = evaluate_alone({});
  ASSERT_EQ(result.rows.size(), 3u);
  for (const MethodFigures& row : result.rows) {
    Method method = four_methods()[0];
    method.name = row.name;
    const std::string said = test::refusal_message(base::ExitCode::options, [&] { evaluate_alone({method}); });
    EXPECT_NE(said.find(row.name), std::string::npos) << said;
  }
}

TEST_F(Evaluation, RefusesAnswersThatAreNotFinite) {
  const Method broken{.name = "broken", .seed = 2, .denoise_hu = [](const at::Tensor& low_dose_hu) {
                        return at::full_like(low_dose_hu, std::numeric_limits<double>::quiet_NaN());
                      }};
  const base::Error error = test::refusal_of(base::ExitCode::non_finite, [&] { evaluate_alone({broken}); });
  EXPECT_NE(error.text().what.find("\"broken\" (seed 2)"), std::string::npos);
}

TEST_F(Evaluation, TableNamesAllThatIsNeededToReadIt) {
  const std::string table = table_text(evaluate_alone(four_methods()));
  for (const std::string part :
       {"inside the body", "6 test slices of 4 patients", "Window leda [-1000, 2000] HU, dose 25 %",
        "RMSE of the low dose:", "against normal dose", "against noise free", "best Gaussian: sigma",
        "non-local means: h", "3 validation slices", "95 % interval", "1 slice without a body left out",
        "sample standard deviation"}) {
    EXPECT_NE(table.find(part), std::string::npos) << part << " is not in\n" << table;
  }
  std::istringstream lines(table);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
}

TEST_F(Evaluation, FilesHoldTheSameFigures) {
  const EvaluationResult result = evaluate_alone(four_methods());
  write_evaluation(folder_.path() / "run" / "evaluation", result);
  const auto read = [&](const std::string& name) {
    return storage::read_text_file(folder_.path() / "run" / "evaluation" / name);
  };
  EXPECT_EQ(read("evaluation.txt"), table_text(result));
  const nlohmann::json json = nlohmann::json::parse(read("evaluation.json"));
  EXPECT_EQ(json["methods"].size(), 5u);
  EXPECT_EQ(json["low_dose_rmse_hu"].get<double>(), result.low_dose_rmse_hu());
  EXPECT_EQ(json["methods"][4]["against"][1]["ssim"]["mean"].get<double>(), result.rows[4].against[1].figures[2].mean);
  EXPECT_EQ(json["methods"][4]["against"][0]["patients"].size(), 4u);
  EXPECT_EQ(json["methods"][4]["against"][0]["slice_rmse_hu"].size(), 6u);
  EXPECT_EQ(json["comparisons"].size(), 2u);

  std::istringstream csv(read("evaluation.csv"));
  std::vector<std::string> lines;
  for (std::string line; std::getline(csv, line);) lines.push_back(line);
  // Per reference: three rows without seeds, two methods with two seeds and a mean each.
  ASSERT_EQ(lines.size(), 1u + 2u * (3u + 2u * 3u));
  std::string head = "reference,method,seed,num_slices";
  for (const ImageFigure& figure : image_figures()) head += std::string(",") + figure.name;
  EXPECT_EQ(lines[0], head + ",gain_percent");
  EXPECT_EQ(lines[0].find("reference,method,seed,num_slices,rmse_hu,psnr_db,ssim,"), 0u);
  EXPECT_EQ(lines[1].find("normal dose,low dose,mean,6,"), 0u) << lines[1];
  EXPECT_EQ(lines[5].find("normal dose,without LEDA,1,6,"), 0u) << lines[5];
}

TEST_F(Evaluation, PictureShowsASliceWithABody) {
  EXPECT_NE(choose_picture_slice(test_), 0);
  const std::filesystem::path path = folder_.path() / "comparison.png";
  write_comparison_picture(path, test_, four_methods(), {.window = kWindow});
  EXPECT_GT(std::filesystem::file_size(path), 1000u);
}

// Images of 48 x 48 have one position at level 2 and 3 x 3 at level 3; level 1 is absent.
std::shared_ptr<const models::Autoencoder> word_autoencoder() {
  const models::AutoencoderOptions options{.channels = 4, .decoder_blocks = 1, .norm_groups = 2, .strides = {16, 2, 1}};
  const at::Tensor codebook = test::noise_hu(7, 0.3).narrow(1, 0, 6);
  return std::make_shared<models::Autoencoder>(options, codebook, models::TensorSettings{.seed = 3});
}

TEST_F(Evaluation, AgreementOfWordsIsAColumnPerLevelAndFigure) {
  const WordReader reader(word_autoencoder(), kWindow, "tiny.safetensors");
  std::vector<EvaluationResult> results;
  for (const int num_ranks : {1, 2}) {
    test::run_ranks(num_ranks, [&](distributed::Communicator& communicator) {
      logging::Console console(communicator.rank(), quiet_.get(), quiet_.get());
      EvaluationOptions options{.window = kWindow, .max_tuning_slices = 3};
      const WordReader own(word_autoencoder(), kWindow, "tiny.safetensors");
      options.words = &own;
      const EvaluationResult result = *evaluate(test_, validation_, four_methods(), options, communicator, console);
      if (communicator.rank() == 0) results.push_back(result);
    });
  }
  EXPECT_EQ(to_json(results[0]), to_json(results[1])) << "on any number of ranks";

  double sum = 0.0;
  for (const std::int64_t id : results[0].slice_ids) {
    const data::Slice slice = test_.read_slice(id, {.low_dose = true});
    const at::Tensor low = reader.read(slice.low_dose_hu, false)[2].tokens;
    sum += low.eq(reader.read(slice.normal_dose_hu, false)[2].tokens).to(at::kDouble).mean().item<double>();
  }
  const std::vector<LevelAgreement>& words = results[0].rows[0].against[0].words;
  ASSERT_EQ(words.size(), 2u);
  EXPECT_EQ(words[0].level, 2);
  EXPECT_EQ(words[1].level, 3);
  EXPECT_NEAR(words[1].figures[0].mean, sum / 6.0, 1e-12);
  EXPECT_EQ(words[1].by_patient.size(), 4u);
  EXPECT_EQ(results[0].rows[4].against[1].words[0].by_seed.size(), 2u);

  const nlohmann::json json = nlohmann::json::parse(to_json(results[0]));
  EXPECT_EQ(json["methods"][0]["against"][0]["words"][1]["match_rate"]["mean"], words[1].figures[0].mean);
  std::istringstream csv(to_csv(results[0]));
  std::string head, line;
  std::getline(csv, head);
  EXPECT_NE(head.find("gain_percent,match_rate_level_2,body_match_rate_level_2,"), std::string::npos);
  while (std::getline(csv, line)) {
    EXPECT_EQ(std::count(line.begin(), line.end(), ','), std::count(head.begin(), head.end(), ','));
  }
  std::istringstream table(table_text(results[0]));
  while (std::getline(table, line)) EXPECT_LE(line.size(), 100u) << line;
  EXPECT_NE(table_text(results[0]).find("words against normal dose"), std::string::npos);
  EXPECT_EQ(table_text(evaluate_alone(four_methods())).find("words against"), std::string::npos);
}

}  // namespace
}  // namespace leda::evaluation
