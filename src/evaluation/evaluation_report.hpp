// An evaluation as people and programs read it: a table, JSON and CSV.
#pragma once

#include <filesystem>
#include <string>

#include "evaluation/evaluation_result.hpp"

namespace leda::evaluation {

// At most 100 columns, ASCII; names window, dose, region, slices, low-dose RMSE and how the classical baselines were
// tuned.
std::string table_text(const EvaluationResult& result);
std::string to_json(const EvaluationResult& result);
// One line per method, seed and reference; seed "mean" is the mean over seeds.
std::string to_csv(const EvaluationResult& result);

// evaluation.json, evaluation.csv and evaluation.txt in `folder`, which is made if need be. On one rank only. Throws
// Error(storage).
void write_evaluation(const std::filesystem::path& folder, const EvaluationResult& result);

}  // namespace leda::evaluation
