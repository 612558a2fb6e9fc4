#include "evaluation/evaluation_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <system_error>

#include "evaluation/classical_denoisers.hpp"
#include "evaluation/image_figures.hpp"
#include "storage/durable_file.hpp"

namespace leda::evaluation {
namespace {

constexpr std::size_t kMaxColumns = 100;

std::string plural(std::int64_t count, const std::string& one) {
  return fmt::format("{} {}{}", count, one, count == 1 ? "" : "s");
}

std::string dose_text(const EvaluationResult& result) {
  if (result.lowest_dose_fraction == result.highest_dose_fraction) {
    return fmt::format("{:g} %", 100.0 * result.lowest_dose_fraction);
  }
  return fmt::format("{:g} to {:g} %", 100.0 * result.lowest_dose_fraction, 100.0 * result.highest_dose_fraction);
}

std::string window_text(const ct::Window& window) {
  const std::string range = fmt::format("[{:g}, {:g}] HU", window.low_hu, window.high_hu);
  const std::string name = ct::window_name(window);
  return name.find(':') == std::string::npos ? fmt::format("{} {}", name, range) : range;
}

// "17.42", or "17.42 +/- 0.21" over seeds.
std::string cell(const Spread& spread, std::size_t num_seeds, int num_digits) {
  if (num_seeds < 2) return fmt::format("{:.{}f}", spread.mean, num_digits);
  return fmt::format("{:.{}f} +/- {:.{}f}", spread.mean, num_digits, spread.deviation, num_digits);
}

std::string head_text(const EvaluationResult& result) {
  std::string text = fmt::format("Figures {} of {} of {}\n", result.region, plural(result.num_slices(), "test slice"),
                                 plural(result.num_patients(), "patient"));
  text += fmt::format("Window {}, dose {}\n", window_text(result.window), dose_text(result));
  std::string low_dose;
  for (const ReferenceFigures& figures : result.rows.front().against) {
    low_dose +=
        fmt::format("{}{:.2f} HU against {}", low_dose.empty() ? "" : ", ", figures.rmse_hu().mean, figures.reference);
  }
  text += fmt::format("RMSE of the low dose: {}\n", low_dose);
  if (result.num_slices_left_out > 0) {
    text += plural(result.num_slices_left_out, "slice") + " without a body left out\n";
  }
  return text;
}

// A column of the text table.
struct FigureColumn {
  std::string label{};
  std::size_t width = 0;
  std::function<std::string(const MethodFigures& row, const ReferenceFigures& figures)> cell{};
};

// The figures in their order, the gain beside the RMSE that it is reckoned from.
std::vector<FigureColumn> figure_columns(const EvaluationResult& result) {
  std::vector<FigureColumn> columns;
  for (std::size_t f = 0; f < image_figures().size(); ++f) {
    const ImageFigure& figure = image_figures()[f];
    columns.push_back({figure.label, static_cast<std::size_t>(figure.column_width),
                       [f, &figure](const MethodFigures& row, const ReferenceFigures& figures) {
                         return cell(figures.figures[f], row.seeds.size(), figure.num_digits);
                       }});
    if (f != kRmseFigure) continue;
    columns.push_back({"gain (%)", 14, [&result](const MethodFigures& row, const ReferenceFigures& figures) {
                         const bool is_low_dose = row.name == result.rows.front().name;
                         return is_low_dose ? "-" : cell(figures.gain_percent, row.seeds.size(), 1);
                       }});
  }
  return columns;
}

// One row a method, as many columns as there are from `first` on within kMaxColumns; returns the first that is left.
std::size_t append_block(const EvaluationResult& result, std::size_t reference_index,
                         const std::vector<FigureColumn>& columns, std::size_t first, std::string& text) {
  std::size_t name_width = std::string("against normal dose").size();
  for (const MethodFigures& row : result.rows) name_width = std::max(name_width, row.name.size());
  std::string head =
      fmt::format("{:<{}} {:>5}", fmt::format("against {}", result.references[reference_index]), name_width, "seeds");
  std::size_t last = first;
  while (last < columns.size() && (last == first || head.size() + 1 + columns[last].width <= kMaxColumns)) {
    head += fmt::format(" {:>{}}", columns[last].label, columns[last].width);
    ++last;
  }
  text += fmt::format("{}\n{:->{}}\n", head, "", head.size());
  for (const MethodFigures& row : result.rows) {
    text +=
        fmt::format("{:<{}} {:>5}", row.name, name_width, row.seeds.empty() ? "-" : std::to_string(row.seeds.size()));
    for (std::size_t k = first; k < last; ++k) {
      text += fmt::format(" {:>{}}", columns[k].cell(row, row.against[reference_index]), columns[k].width);
    }
    text += "\n";
  }
  return last;
}

std::string block_text(const EvaluationResult& result, std::size_t reference_index) {
  const std::vector<FigureColumn> columns = figure_columns(result);
  std::string text;
  for (std::size_t first = 0; first < columns.size();) {
    if (first > 0) text += "\n";
    first = append_block(result, reference_index, columns, first, text);
  }
  return text;
}

bool has_words(const EvaluationResult& result) { return !result.rows.front().against.front().words.empty(); }

// Agreement of words with the normal dose, where it was measured.
std::string words_text(const EvaluationResult& result) {
  if (!has_words(result)) return "";
  std::size_t name_width = std::string("words against normal dose").size();
  for (const MethodFigures& row : result.rows) name_width = std::max(name_width, row.name.size());
  std::string text =
      fmt::format("\n{:<{}} {:>5}", fmt::format("words against {}", result.references.front()), name_width, "level");
  for (const AgreementFigure& figure : kAgreementFigures) text += fmt::format(" {:>16}", figure.label);
  text += fmt::format("\n{:->{}}\n", "", text.size() - 1);
  for (const MethodFigures& row : result.rows) {
    for (const LevelAgreement& level : row.against.front().words) {
      text += fmt::format("{:<{}} {:>5}", row.name, name_width, level.level);
      for (const Spread& figure : level.figures) text += fmt::format(" {:>16}", cell(figure, row.seeds.size(), 3));
      text += "\n";
    }
  }
  return text;
}

std::string foot_text(const EvaluationResult& result) {
  std::string text;
  const bool has_spread = std::any_of(result.rows.begin(), result.rows.end(),
                                      [](const MethodFigures& row) { return row.seeds.size() > 1; });
  text += "Means of per-slice figures; gain: RMSE below the low dose's; SSIM: 11 x 11 Gaussian, sigma 1.5.\n";
  if (has_spread) text += "+/-: sample standard deviation over seeds.\n";
  std::string tuned;
  for (const MethodFigures& row : result.rows) {
    if (!row.parameter.empty()) tuned += fmt::format("{}{}: {}", tuned.empty() ? "" : "; ", row.name, row.parameter);
  }
  const NonLocalMeansOptions patches;
  text += fmt::format("{} (patch {}, distance {});\n  each the lowest RMSE on {}.\n", tuned, patches.patch_size,
                      patches.patch_distance,
                      plural(static_cast<std::int64_t>(result.tuning_slice_ids.size()), "validation slice"));
  for (const MethodComparison& comparison : result.comparisons) {
    text += fmt::format(
        "{} minus {}, RMSE per slice against {}:\n  {:+.2f} HU, 95 % interval {:+.2f} to {:+.2f} HU "
        "(bootstrap over {} {}).\n",
        comparison.second, comparison.first, comparison.reference, comparison.rmse_hu.mean, comparison.rmse_hu.low,
        comparison.rmse_hu.high, comparison.num_units, comparison.unit);
  }
  for (const MethodFigures& row : result.rows) {
    for (const std::int64_t seed : row.dead_seeds) {
      text += fmt::format("DEAD: {}, seed {}: it takes away none of the noise.\n", row.name, seed);
    }
  }
  return text;
}

nlohmann::ordered_json json_of(const FigureValues& values) {
  nlohmann::ordered_json json;
  for (std::size_t f = 0; f < values.size(); ++f) json[image_figures()[f].name] = values[f];
  return json;
}

nlohmann::ordered_json json_of(const Spread& spread) {
  return {{"mean", spread.mean}, {"deviation_over_seeds", spread.deviation}};
}

nlohmann::ordered_json json_of(const WordAgreement& agreement) {
  nlohmann::ordered_json json;
  for (const AgreementFigure& figure : kAgreementFigures) json[figure.name] = agreement.*figure.value;
  return json;
}

// Of anything with figures by_seed and by_patient.
template <typename Figures>
void add_seeds_and_patients(const Figures& figures, const MethodFigures& row, nlohmann::ordered_json& json) {
  for (std::size_t k = 0; k < row.seeds.size(); ++k) {
    nlohmann::ordered_json seed = json_of(figures.by_seed[k]);
    seed["seed"] = row.seeds[k];
    json["seeds"].push_back(seed);
  }
  for (const auto& patient : figures.by_patient) {
    nlohmann::ordered_json entry = json_of(patient.mean);
    entry["patient"] = patient.patient;
    entry["num_slices"] = patient.num_slices;
    json["patients"].push_back(entry);
  }
}

nlohmann::ordered_json json_of(const LevelAgreement& words, const MethodFigures& row) {
  nlohmann::ordered_json json = {{"level", words.level}};
  for (std::size_t k = 0; k < kAgreementFigures.size(); ++k) {
    json[kAgreementFigures[k].name] = json_of(words.figures[k]);
  }
  add_seeds_and_patients(words, row, json);
  return json;
}

nlohmann::ordered_json json_of(const ReferenceFigures& figures, const MethodFigures& row) {
  nlohmann::ordered_json json = {{"reference", figures.reference}};
  for (std::size_t f = 0; f < figures.figures.size(); ++f) json[image_figures()[f].name] = json_of(figures.figures[f]);
  json["gain_percent"] = json_of(figures.gain_percent);
  add_seeds_and_patients(figures, row, json);
  json["slice_rmse_hu"] = figures.slice_rmse_hu;
  for (const LevelAgreement& level : figures.words) json["words"].push_back(json_of(level, row));
  return json;
}

nlohmann::ordered_json json_of(const MethodFigures& row) {
  nlohmann::ordered_json json = {{"name", row.name}};
  if (!row.parameter.empty()) {
    json["parameter"] = row.parameter;
    json["parameter_value"] = row.parameter_value;
  }
  json["dead_seeds"] = row.dead_seeds;
  for (const ReferenceFigures& figures : row.against) json["against"].push_back(json_of(figures, row));
  return json;
}

nlohmann::ordered_json json_of(const MethodComparison& comparison) {
  return {{"first", comparison.first},
          {"second", comparison.second},
          {"reference", comparison.reference},
          {"rmse_hu_difference", comparison.rmse_hu.mean},
          {"interval_95_percent", {comparison.rmse_hu.low, comparison.rmse_hu.high}},
          {"bootstrap_unit", comparison.unit},
          {"num_units", comparison.num_units},
          {"num_resamples", comparison.rmse_hu.num_resamples}};
}

// Commas and quotes would end a field.
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string doubled;
  for (const char c : text) doubled.append(c == '"' ? 2 : 1, c);
  return fmt::format("\"{}\"", doubled);
}

// Columns of the words' figures, level by level.
std::vector<double> words_of_seed(const ReferenceFigures& against, std::size_t seed) {
  std::vector<double> values;
  for (const LevelAgreement& level : against.words) {
    for (const AgreementFigure& figure : kAgreementFigures) values.push_back(level.by_seed[seed].*figure.value);
  }
  return values;
}

std::vector<double> mean_words(const ReferenceFigures& against) {
  std::vector<double> values;
  for (const LevelAgreement& level : against.words) {
    for (const Spread& figure : level.figures) values.push_back(figure.mean);
  }
  return values;
}

}  // namespace

std::string table_text(const EvaluationResult& result) {
  std::string text = head_text(result);
  for (std::size_t k = 0; k < result.references.size(); ++k) text += fmt::format("\n{}", block_text(result, k));
  return fmt::format("{}{}\n{}", text, words_text(result), foot_text(result));
}

std::string to_json(const EvaluationResult& result) {
  nlohmann::ordered_json json = {{"format", "leda evaluation"},
                                 {"version", 1},
                                 {"window_hu", {result.window.low_hu, result.window.high_hu}},
                                 {"region", result.region},
                                 {"dose_fraction", {result.lowest_dose_fraction, result.highest_dose_fraction}},
                                 {"low_dose_rmse_hu", result.low_dose_rmse_hu()},
                                 {"ssim_variant", "11 x 11 Gaussian, sigma 1.5, population covariance, valid interior"},
                                 {"num_slices", result.num_slices()},
                                 {"num_slices_left_out", result.num_slices_left_out},
                                 {"num_patients", result.num_patients()},
                                 {"test_fingerprint", result.test_fingerprint},
                                 {"validation_fingerprint", result.validation_fingerprint},
                                 {"tuning_slice_ids", result.tuning_slice_ids},
                                 {"slice_ids", result.slice_ids}};
  for (const MethodFigures& row : result.rows) json["methods"].push_back(json_of(row));
  json["comparisons"] = nlohmann::ordered_json::array();
  for (const MethodComparison& comparison : result.comparisons) json["comparisons"].push_back(json_of(comparison));
  return json.dump(2) + "\n";
}

std::string to_csv(const EvaluationResult& result) {
  std::string text = "reference,method,seed,num_slices";
  for (const ImageFigure& figure : image_figures()) text += fmt::format(",{}", figure.name);
  text += ",gain_percent";
  for (const LevelAgreement& level : result.rows.front().against.front().words) {
    for (const AgreementFigure& figure : kAgreementFigures)
      text += fmt::format(",{}_level_{}", figure.name, level.level);
  }
  text += "\n";
  const auto line = [&](const ReferenceFigures& against, const std::string& method, const std::string& seed,
                        std::vector<double> values, const std::vector<double>& words) {
    text += fmt::format("{},{},{},{}", csv_field(against.reference), csv_field(method), seed, result.num_slices());
    values.insert(values.end(), words.begin(), words.end());
    for (const double value : values) text += fmt::format(",{:.9g}", value);
    text += "\n";
  };
  for (std::size_t k = 0; k < result.references.size(); ++k) {
    const double low_dose_rmse_hu = result.rows.front().against[k].rmse_hu().mean;
    for (const MethodFigures& row : result.rows) {
      const ReferenceFigures& against = row.against[k];
      for (std::size_t s = 0; s < row.seeds.size(); ++s) {
        FigureValues values = against.by_seed[s];
        values.push_back(gain_percent(values[kRmseFigure], low_dose_rmse_hu));
        line(against, row.name, std::to_string(row.seeds[s]), std::move(values), words_of_seed(against, s));
      }
      FigureValues means;
      for (const Spread& figure : against.figures) means.push_back(figure.mean);
      means.push_back(against.gain_percent.mean);
      line(against, row.name, "mean", std::move(means), mean_words(against));
    }
  }
  return text;
}

void write_evaluation(const std::filesystem::path& folder, const EvaluationResult& result) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw storage::storage_error("cannot make the folder", folder, error.value());
  storage::write_file_durably(folder / "evaluation.json", to_json(result));
  storage::write_file_durably(folder / "evaluation.csv", to_csv(result));
  storage::write_file_durably(folder / "evaluation.txt", table_text(result));
}

}  // namespace leda::evaluation
