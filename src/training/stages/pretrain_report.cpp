#include "training/stages/pretrain_report.hpp"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "base/error.hpp"
#include "language/tissue_match.hpp"
#include "pictures/curves.hpp"
#include "storage/durable_file.hpp"
#include "training/stages/word_map_check.hpp"

namespace leda::training {
namespace {

using Reports = std::map<std::int64_t, nlohmann::json>;  // by step

// A run that went on from a checkpoint reports its last steps again: the later report counts.
Reports regular_reports(const std::string& log) {
  Reports reports;
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    const auto report = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!report.is_object() || report.contains("event") || !report.contains("step")) continue;
    reports[report["step"].get<std::int64_t>()] = report;
  }
  return reports;
}

// One chart for a figure: a curve per pyramid level.
pictures::Chart chart_of(const Reports& reports, const std::string& figure, const std::string& title) {
  pictures::Chart chart{.title = title, .curves = {}};
  for (int level = 1;; ++level) {
    pictures::Curve curve{.label = fmt::format("level {}", level), .points = {}};
    const std::string name = fmt::format("{}_level_{}", figure, level);
    for (const auto& [step, report] : reports) {
      if (report.contains(name) && report[name].is_number()) {
        curve.points.push_back({static_cast<double>(step), report[name].get<double>()});
      }
    }
    if (curve.points.empty()) return chart;
    chart.curves.push_back(std::move(curve));
  }
}

}  // namespace

void draw_token_usage(const std::filesystem::path& folder, logging::Console& console) {
  const std::filesystem::path log = folder / "log.jsonl";
  if (!std::filesystem::exists(log)) return;
  try {
    const Reports reports = regular_reports(storage::read_text_file(log));
    const std::vector<pictures::Chart> charts{
        chart_of(reports, "tokens", "distinct tokens of an interval"),
        chart_of(reports, "perplexity", "perplexity of the tokens"),
        chart_of(reports, "dead_words", "words of the vocabulary not chosen"),
    };
    if (charts.front().curves.empty()) return;
    pictures::write_charts_png(folder / "token_usage.png", charts, "steps");
  } catch (const base::Error& fault) {
    console.warning(fmt::format("the picture of the token usage could not be drawn: {}", fault.what()));
  }
}

void report_word_maps(const PretrainStage& stage, const StageContext& context, const data::ShardCatalogue& catalogue,
                      const std::filesystem::path& folder) {
  const std::vector<WordMapScore> scores =
      score_word_maps(stage.autoencoder(), context.settings, stage.tissue_words(), stage.options().words,
                      context.window, catalogue, context.communicator);
  if (context.communicator.rank() == 0) {
    storage::write_file_durably(folder / "word_maps.json", word_maps_json(scores));
  }
  for (const WordMapScore& score : scores) {
    context.console.info(fmt::format("word maps, {}: {:.3f} of the last level's tokens name the right tissue",
                                     score.name, language::balanced_match(score.counts.back()).share));
  }
}

}  // namespace leda::training
