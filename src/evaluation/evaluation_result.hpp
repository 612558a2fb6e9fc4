// What an evaluation found: the numbers of a result table with all that is needed to read them. Plain data, equal on
// every rank.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "ct/hounsfield.hpp"
#include "evaluation/image_figures.hpp"
#include "evaluation/statistics.hpp"
#include "evaluation/word_agreement.hpp"

namespace leda::evaluation {

// A figure's mean over slices; mean and sample standard deviation over seeds.
struct Spread {
  double mean = 0.0;
  double deviation = 0.0;  // 0 with one seed
};

// What is gone of the low dose's error.
inline double gain_percent(double rmse_hu, double low_dose_rmse_hu) {
  return 100.0 * (1.0 - rmse_hu / low_dose_rmse_hu);
}

struct PatientFigures {
  std::string patient{};
  std::int64_t num_slices = 0;
  FigureValues mean{};  // over the patient's slices and all seeds
};

// Agreement of a method's words with those of a reference, at one level of the token pyramid.
struct LevelAgreement {
  int level = 1;
  std::array<Spread, kAgreementFigures.size()> figures{};  // in the order of kAgreementFigures
  std::vector<WordAgreement> by_seed{};                    // means over slices, in the order of MethodFigures::seeds
  std::vector<PatientAgreement> by_patient{};              // means over the patient's slices and all seeds
};

// One method measured against one reference.
struct ReferenceFigures {
  std::string reference{};                   // "normal dose" or "noise free"
  std::vector<Spread> figures{};             // in the order of image_figures()
  Spread gain_percent{};                     // 100 (1 - RMSE / RMSE of the low dose)
  std::vector<FigureValues> by_seed{};       // means over slices, in the order of MethodFigures::seeds
  std::vector<PatientFigures> by_patient{};  // in the order of EvaluationResult::patients
  std::vector<double> slice_rmse_hu{};       // mean over seeds, in the order of EvaluationResult::slice_ids
  std::vector<LevelAgreement> words{};       // per level that exists; empty without an autoencoder

  const Spread& rmse_hu() const { return figures[kRmseFigure]; }
};

// One row of the table.
struct MethodFigures {
  std::string name{};
  std::string parameter{};  // what was tuned, "sigma 0.52 pixels"; empty where nothing was
  double parameter_value = 0.0;
  std::vector<std::int64_t> seeds{};        // empty for what needs no training
  std::vector<std::int64_t> dead_seeds{};   // whose network died (dead_network.hpp)
  std::vector<ReferenceFigures> against{};  // one per EvaluationResult::references
};

// Per slice RMSE of `second` minus that of `first`, each the mean over its seeds.
struct MethodComparison {
  std::string first{};
  std::string second{};
  std::string reference{};
  std::string unit{};  // what the bootstrap draws: "patients", or "slices" where there are fewer than 5 patients
  std::int64_t num_units = 0;
  PairedDifference rmse_hu{};
};

struct EvaluationResult {
  ct::Window window{};
  std::string region = "inside the body";
  double lowest_dose_fraction = 1.0;  // over the test slices
  double highest_dose_fraction = 1.0;
  std::vector<std::int64_t> slice_ids{};         // measured, ascending
  std::int64_t num_slices_left_out = 0;          // nothing of a body in them
  std::vector<std::string> patients{};           // of the measured slices
  std::vector<std::int64_t> tuning_slice_ids{};  // of the validation data
  std::string test_fingerprint{};                // data::ShardCatalogue::fingerprint
  std::string validation_fingerprint{};
  std::vector<std::string> references{};        // "normal dose", then "noise free" where the data has it
  std::vector<MethodFigures> rows{};            // low dose, best Gaussian, non-local means, then the methods
  std::vector<MethodComparison> comparisons{};  // every further method with the first

  std::int64_t num_slices() const { return static_cast<std::int64_t>(slice_ids.size()); }
  std::int64_t num_patients() const { return static_cast<std::int64_t>(patients.size()); }
  // RMSE of the low dose against the normal dose.
  double low_dose_rmse_hu() const { return rows.front().against.front().rmse_hu().mean; }
};

}  // namespace leda::evaluation
