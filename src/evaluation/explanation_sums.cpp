#include "evaluation/explanation_sums.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "evaluation/statistics.hpp"

namespace leda::evaluation {
namespace {

std::vector<WordRow> ranked(std::vector<WordRow> rows) {
  std::stable_sort(rows.begin(), rows.end(),
                   [](const WordRow& first, const WordRow& second) { return first.total() > second.total(); });
  return rows;
}

ChangeTable change_table(const std::string& from, const std::string& to,
                         const std::map<std::pair<std::int64_t, std::int64_t>, ChangeRow>& changes) {
  ChangeTable table{.from_image = from, .to_image = to};
  for (const auto& [pair, row] : changes) {
    table.rows.push_back(row);
    table.num_changed += row.count;
  }
  std::stable_sort(table.rows.begin(), table.rows.end(),
                   [](const ChangeRow& first, const ChangeRow& second) { return first.count > second.count; });
  return table;
}

TissueRow tissue_row(const std::string& image, const std::array<std::int64_t, 4>& counts) {
  const auto share = [](std::int64_t part, std::int64_t whole) {
    return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0.0;
  };
  return {.image = image,
          .num_positions = counts[1],
          .num_non_air_positions = counts[3],
          .all = share(counts[0], counts[1]),
          .non_air = share(counts[2], counts[3])};
}

}  // namespace

std::int64_t WordRow::total() const { return std::accumulate(counts.begin(), counts.end(), std::int64_t{0}); }

ExplanationSums::ExplanationSums(std::vector<std::string> images, std::vector<int> levels, std::int64_t max_positions)
    : images_(std::move(images)), max_positions_(max_positions) {
  for (const int level : levels) {
    Level& sums = levels_.emplace_back();
    sums.level = level;
    sums.agreement.resize(images_.size() - 1);
    sums.changes.resize(images_.size() - 1);
  }
}

void ExplanationSums::add(const SliceWords& slice, const std::string& patient) {
  const auto known = std::find(patients_.begin(), patients_.end(), patient);
  patient_of_slice_.push_back(static_cast<std::size_t>(known - patients_.begin()));
  if (known == patients_.end()) patients_.push_back(patient);
  slice_ids_.push_back(slice.slice_id);
  for (Level& level : levels_) {
    const LevelOfSlice& found = slice.levels.at(static_cast<std::size_t>(level.level - 1));
    if (!found.exists) continue;
    level.cell_pixels = found.cell_pixels;
    level.rows = found.rows;
    level.columns = found.columns;
    level.num_positions += found.rows * found.columns;
    add_words(found, level);
    add_changes(found, slice.slice_id, level);
    for (std::size_t k = 0; k < found.agreement.size(); ++k) level.agreement[k].push_back(found.agreement[k]);
    level.tissue.resize(found.tissue.size());
    for (std::size_t k = 0; k < found.tissue.size(); ++k) {
      for (std::size_t n = 0; n < 4; ++n) level.tissue[k][n] += found.tissue[k][n];
    }
  }
}

void ExplanationSums::add_words(const LevelOfSlice& slice, Level& level) const {
  for (std::size_t image = 0; image < images_.size(); ++image) {
    for (const WordTally& word : slice.words[image]) {
      WordSum& sum = level.words[word.token];
      sum.counts.resize(images_.size());
      sum.margins.resize(images_.size());
      sum.counts[image] += word.count;
      sum.margins[image] += word.margin_sum;
    }
  }
}

void ExplanationSums::add_changes(const LevelOfSlice& slice, std::int64_t slice_id, Level& level) const {
  for (std::size_t image = 0; image < slice.changes.size(); ++image) {
    std::map<std::pair<std::int64_t, std::int64_t>, bool> seen;
    for (const ChangedWord& change : slice.changes[image]) {
      ChangeRow& row = level.changes[image][{change.from, change.to}];
      row.from = change.from;
      row.to = change.to;
      ++row.count;
      if (seen.emplace(std::pair(change.from, change.to), true).second) ++row.num_slices;
      if (static_cast<std::int64_t>(row.positions.size()) < max_positions_) {
        row.positions.push_back({slice_id, change.row, change.column});
      }
    }
  }
}

AgreementRow ExplanationSums::agreement_row(const std::string& image, const std::vector<WordAgreement>& slices) const {
  AgreementRow row{.image = image, .mean = mean_agreement(slices)};
  row.slices = slices;
  for (std::size_t p = 0; p < patients_.size(); ++p) {
    std::vector<WordAgreement> own;
    for (std::size_t s = 0; s < slices.size(); ++s) {
      if (patient_of_slice_[s] == p) own.push_back(slices[s]);
    }
    row.by_patient.push_back({patients_[p], static_cast<std::int64_t>(own.size()), mean_agreement(own)});
  }
  for (const AgreementFigure& figure : kAgreementFigures) {
    std::vector<double> means;
    for (const PatientAgreement& patient : row.by_patient) {
      if (!std::isnan(patient.mean.*figure.value)) means.push_back(patient.mean.*figure.value);
    }
    row.deviation_over_patients.*figure.value = sample_deviation(means);
  }
  return row;
}

LevelExplanation ExplanationSums::explained(const Level& level) const {
  LevelExplanation result{.level = level.level,
                          .cell_pixels = level.cell_pixels,
                          .rows = level.rows,
                          .columns = level.columns,
                          .num_positions = level.num_positions};
  for (const auto& [token, sum] : level.words) {
    WordRow& row = result.words.emplace_back(WordRow{.token = token, .counts = sum.counts});
    for (std::size_t k = 0; k < images_.size(); ++k) {
      row.margins.push_back(sum.counts[k] > 0 ? sum.margins[k] / static_cast<double>(sum.counts[k])
                                              : std::numeric_limits<double>::quiet_NaN());
    }
  }
  result.words = ranked(std::move(result.words));
  for (std::size_t k = 0; k + 1 < images_.size(); ++k) {
    result.agreement.push_back(agreement_row(images_[k], level.agreement[k]));
    result.changes.push_back(change_table(images_[k], images_[k + 1], level.changes[k]));
  }
  for (std::size_t k = 0; k < level.tissue.size(); ++k) {
    result.tissue.push_back(tissue_row(images_[k], level.tissue[k]));
  }
  if (images_.size() < 3) return result;
  const bool by_patient = patients_.size() >= kMinPatientsToDraw;
  std::vector<double> differences;
  std::vector<std::string> units;
  for (std::size_t s = 0; s < slice_ids_.size(); ++s) {
    differences.push_back(level.agreement[1][s].match_rate - level.agreement[0][s].match_rate);
    units.push_back(by_patient ? patients_[patient_of_slice_[s]] : std::to_string(slice_ids_[s]));
  }
  result.gain = MatchGain{.unit = by_patient ? "patients" : "slices",
                          .num_units = static_cast<std::int64_t>(by_patient ? patients_.size() : slice_ids_.size()),
                          .match_rate = paired_difference(differences, units)};
  return result;
}

Explanation ExplanationSums::result() const {
  Explanation explanation{.images = images_, .slice_ids = slice_ids_, .patients = patients_};
  for (const Level& level : levels_) {
    if (level.num_positions > 0) explanation.levels.push_back(explained(level));
  }
  return explanation;
}

}  // namespace leda::evaluation
