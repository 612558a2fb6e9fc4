#include "explanation/explanation_report.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <system_error>
#include <vector>

#include "explanation/explanation_page.hpp"
#include "storage/durable_file.hpp"

namespace leda::explanation {
namespace {

constexpr std::size_t kWordsInText = 6;

std::string frequent_words(const LevelExplanation& level, const language::Vocabulary& vocabulary) {
  std::vector<std::string> words;
  for (std::size_t k = 0; k < std::min(kWordsInText, level.words.size()); ++k) {
    words.push_back(vocabulary.words.at(static_cast<std::size_t>(level.words[k].token)));
  }
  return fmt::format("level {}: {} words, most frequent {}\n", level.level, level.words.size(), fmt::join(words, ", "));
}

// A level may have no cell in the body.
std::string table_cell(double figure) {
  return std::isnan(figure) ? fmt::format(" {:>12}", "-") : fmt::format(" {:>12.4f}", figure);
}

}  // namespace

std::string explanation_text(const Explanation& explanation, const language::Vocabulary& vocabulary) {
  std::string text;
  if (explanation.images.size() > 1) {
    text += fmt::format("{:>5}  {:<10}", "level", "image");
    for (const evaluation::AgreementFigure& figure : evaluation::kAgreementFigures)
      text += fmt::format(" {:>12}", figure.label);
    text += "\n";
  }
  for (const LevelExplanation& level : explanation.levels) {
    for (const AgreementRow& row : level.agreement) {
      text += fmt::format("{:>5}  {:<10}", level.level, row.image);
      for (const evaluation::AgreementFigure& figure : evaluation::kAgreementFigures)
        text += table_cell(row.mean.*figure.value);
      text += "\n";
    }
  }
  if (!text.empty()) text += "Against the normal dose; means over slices.\n\n";
  for (const LevelExplanation& level : explanation.levels) text += frequent_words(level, vocabulary);
  return text;
}

bool write_explanation(const std::filesystem::path& folder, const ExplainedSlices& slices,
                       const data::ShardCatalogue& catalogue, const language::Vocabulary& vocabulary,
                       const ExplanationSources& sources, const ExplanationDisplay& display,
                       distributed::Communicator& communicator, const std::function<bool()>& should_stop) {
  const WordNumbers numbers(slices.explanation, display.legend_length);
  const auto pictures = draw_explanation(slices, catalogue, vocabulary, numbers, display, communicator, should_stop);
  if (!pictures) return false;
  if (communicator.rank() != 0) return true;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw storage::storage_error("cannot make the folder", folder, error.value());
  for (const ExplanationPicture& picture : *pictures) {
    storage::write_file_durably(folder / picture.file_name, picture.png);
  }
  storage::write_file_durably(folder / "explanation.json", to_json(slices.explanation, vocabulary, sources));
  storage::write_file_durably(folder / "explanation.html",
                              to_html(slices.explanation, vocabulary, sources, numbers, *pictures, display));
  return true;
}

}  // namespace leda::explanation
