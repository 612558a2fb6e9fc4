#include "explanation/explanation_page.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace leda::explanation {
namespace {

constexpr std::size_t kMaxChangeRows = 50;
constexpr std::size_t kMaxPositionsShown = 4;
constexpr std::size_t kMaxPatientRows = 200;

constexpr const char* kStyle = R"(
:root { color-scheme: dark; }
body { background: #16181c; color: #e6e6e6; font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1500px;
       padding: 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; } h2 { font-size: 1.25rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1.05rem; margin: 1.25rem 0 .25rem; }
p, dd { color: #b9bcc2; margin: .25rem 0; max-width: 60rem; } dl { display: grid; gap: 0 1rem; grid-template-columns: max-content 1fr; }
dt { color: #8f949c; margin: .25rem 0; } dd { overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: .5rem 0 1rem; }
caption { color: #b9bcc2; max-width: calc(100vw - 2rem); padding: .25rem 0; text-align: left; }
th, td { border-bottom: 1px solid #33373e; padding: .2rem .75rem; text-align: right; white-space: nowrap; }
th { color: #9aa0a8; font-weight: 500; }
th.text, td.text { text-align: left; } td.swatch { min-width: 1.6rem; padding: .2rem .3rem; text-align: center; }
.swatch span { border-radius: 3px; color: #fff; display: inline-block; font-size: .8rem; min-width: 1.5rem; text-align: center;
               text-shadow: 0 0 3px #000, 0 0 2px #000; }
.swatch .light { color: #000; text-shadow: none; }
.scroll { overflow-x: auto; } figure { margin: .5rem 0 1.5rem; } figcaption { color: #b9bcc2; }
figcaption::first-letter { text-transform: capitalize; }
figure img { cursor: zoom-in; height: auto; max-width: 100%; } figure input { display: none; }
figure input:checked + img { cursor: zoom-out; max-width: none; }
details { margin: .5rem 0; } summary { cursor: pointer; color: #9cc4ff; }
@media (max-width: 40rem) { body { padding: .75rem; } dl { grid-template-columns: 1fr; } dd { margin-left: 1rem; } }
@media print {
  body { background: #fff; font-size: 12px; padding: 0; }
  body, p, dt, dd, th, caption, figcaption, summary { color: #000; }
  h2, h3 { break-after: avoid; } figure { break-inside: avoid; } .scroll { overflow: visible; }
  th, td { padding: .1rem .4rem; white-space: normal; } .swatch span { print-color-adjust: exact; }
}
)";

std::string cell(const std::string& text, const char* kind = "") { return fmt::format("<td{}>{}</td>", kind, text); }
constexpr const char* kText = " class=\"text\"";

std::string number(double value, int num_digits) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, num_digits) : "&ndash;";
}

std::string percent(double share) { return std::isfinite(share) ? fmt::format("{:.1f} %", 100.0 * share) : "&ndash;"; }

// Whether black letters are easier to read on it than white ones.
bool is_light(const pictures::Colour& colour) { return 299 * colour[0] + 587 * colour[1] + 114 * colour[2] > 140000; }

std::string colour_text(const pictures::Colour& colour) {
  return fmt::format("rgb({}, {}, {})", colour[0], colour[1], colour[2]);
}

class Page {
 public:
  Page(const Explanation& explanation, const language::Vocabulary& vocabulary, const WordNumbers& numbers,
       const ExplanationDisplay& display)
      : explanation_(explanation), vocabulary_(vocabulary), numbers_(numbers), display_(display) {}

  std::string head(const ExplanationSources& sources) const;
  std::string agreement() const;
  std::string patients() const;
  std::string level(const LevelExplanation& level) const;
  std::string slices(const std::vector<ExplanationPicture>& pictures) const;

 private:
  std::string word(std::int64_t token) const {
    return html_escaped(vocabulary_.words.at(static_cast<std::size_t>(token)));
  }
  std::string swatch(std::int64_t token) const {
    const pictures::Colour colour = numbers_.colour(token);
    return cell(fmt::format("<span{} style=\"background: {}\">{}</span>", is_light(colour) ? " class=\"light\"" : "",
                            colour_text(colour), numbers_.number(token).empty() ? "&nbsp;" : numbers_.number(token)),
                " class=\"swatch\"");
  }
  std::string tissue() const;
  std::string words(const LevelExplanation& level) const;
  std::string changes(const ChangeTable& table, std::int64_t num_positions) const;

  const Explanation& explanation_;
  const language::Vocabulary& vocabulary_;
  const WordNumbers& numbers_;
  const ExplanationDisplay& display_;
};

std::string Page::head(const ExplanationSources& sources) const {
  std::string text =
      "<h1>Which words the autoencoder sees</h1>\n"
      "<p>The frozen autoencoder of the LEDA loss describes each cell of a CT image by the vocabulary word whose "
      "embedding is nearest. Words are labels learnt from data, no diagnosis.</p>\n<dl>\n";
  const auto row = [&](const char* name, const std::string& value) {
    text += fmt::format("<dt>{}</dt><dd>{}</dd>\n", name, html_escaped(value));
  };
  row("Data", fmt::format("{} (slices: {}, patients: {})", sources.data_folder, explanation_.slice_ids.size(),
                          explanation_.patients.size()));
  row("Autoencoder", sources.autoencoder);
  row("Vocabulary", fmt::format("{} ({} words)", vocabulary_.source, vocabulary_.size()));
  if (sources.codebook_ablation != "none") {
    row("Codebook ablation",
        fmt::format("{}: cells are named by words whose embeddings are not their own", sources.codebook_ablation));
  }
  if (!sources.denoiser.empty()) row("Denoiser", sources.denoiser);
  row("CT window of the pictures", fmt::format("{:g} to {:g} HU", display_.window.low_hu, display_.window.high_hu));
  return text + "</dl>\n";
}

std::string Page::agreement() const {
  if (explanation_.images.size() < 2) return tissue();
  std::string text =
      "<h2>Agreement with the normal dose</h2>\n<div class=\"scroll\"><table>\n<tr><th>level</th>"
      "<th class=\"text\">image</th><th>token match</th><th>&plusmn; over patients</th><th>in the body</th>";
  text += fmt::format("<th>top {} words shared</th><th>embedding distance</th></tr>\n", explanation_.num_top_words);
  for (const LevelExplanation& level : explanation_.levels) {
    for (const AgreementRow& row : level.agreement) {
      text +=
          fmt::format("<tr>{}{}{}{}{}{}{}</tr>\n", cell(std::to_string(level.level)),
                      cell(html_escaped(row.image), kText), cell(percent(row.mean.match_rate)),
                      cell(percent(row.deviation_over_patients.match_rate)), cell(percent(row.mean.body_match_rate)),
                      cell(percent(row.mean.top_word_overlap)), cell(number(row.mean.embedding_distance, 4)));
    }
  }
  text += "</table></div>\n<p>Means over slices. Level 1 is the coarsest.</p>\n";
  for (const LevelExplanation& level : explanation_.levels) {
    if (!level.gain) continue;
    text += fmt::format(
        "<p>Level {}: token match of the denoised image minus that of the low dose {:+.2f} percentage points, 95 % "
        "interval {:+.2f} to {:+.2f} (bootstrap over {} {}{}).</p>\n",
        level.level, 100.0 * level.gain->match_rate.mean, 100.0 * level.gain->match_rate.low,
        100.0 * level.gain->match_rate.high, level.gain->num_units, level.gain->unit,
        level.gain->unit == "slices" ? " of too few patients: too narrow" : "");
  }
  return text + tissue();
}

std::string Page::tissue() const {
  if (explanation_.levels.front().tissue.empty()) return "";
  std::string text =
      "<h2>Agreement with the tissue labels</h2>\n<div class=\"scroll\"><table>\n<tr><th>level</th>"
      "<th class=\"text\">image</th><th>all cells</th><th>cells that are not air</th></tr>\n";
  for (const LevelExplanation& level : explanation_.levels) {
    for (const TissueRow& row : level.tissue) {
      text += fmt::format("<tr>{}{}{}{}</tr>\n", cell(std::to_string(level.level)),
                          cell(html_escaped(row.image), kText), cell(percent(row.all)), cell(percent(row.non_air)));
    }
  }
  return text + "</table></div>\n<p>Share of cells whose word is one of the tissue with most pixels there.</p>\n";
}

std::string Page::patients() const {
  if (explanation_.images.size() < 2) return "";
  std::string text =
      "<details><summary>By patient</summary>\n<div class=\"scroll\"><table>\n<tr><th class=\"text\">patient"
      "</th><th>slices</th>";
  for (const LevelExplanation& level : explanation_.levels) {
    for (const AgreementRow& row : level.agreement) {
      text += fmt::format("<th>{}, level {}</th>", html_escaped(row.image), level.level);
    }
  }
  text += "</tr>\n";
  const std::size_t num_rows = std::min(kMaxPatientRows, explanation_.patients.size());
  for (std::size_t p = 0; p < num_rows; ++p) {
    text += fmt::format("<tr>{}", cell(html_escaped(explanation_.patients[p]), kText));
    text += cell(std::to_string(explanation_.levels.front().agreement.front().by_patient[p].num_slices));
    for (const LevelExplanation& level : explanation_.levels) {
      for (const AgreementRow& row : level.agreement) text += cell(percent(row.by_patient[p].mean.match_rate));
    }
    text += "</tr>\n";
  }
  text += "</table></div>\n";
  if (num_rows < explanation_.patients.size()) text += "<p>The other patients are in explanation.json.</p>\n";
  return text + "</details>\n";
}

std::string Page::words(const LevelExplanation& level) const {
  const std::size_t num_rows = std::min(level.words.size(), static_cast<std::size_t>(display_.legend_length));
  std::string text = fmt::format(
      "<div class=\"scroll\"><table>\n<caption>The {} most frequent of {} words: cells of each image, and how far the "
      "word is ahead of the runner-up there (mean margin of squared distance)</caption>\n<tr><th></th>"
      "<th class=\"text\">word</th>",
      num_rows, level.words.size());
  for (const std::string& image : explanation_.images) text += fmt::format("<th>{}</th>", html_escaped(image));
  for (const std::string& image : explanation_.images) text += fmt::format("<th>margin, {}</th>", html_escaped(image));
  text += "</tr>\n";
  for (std::size_t k = 0; k < num_rows; ++k) {
    const WordRow& row = level.words[k];
    text += fmt::format("<tr>{}{}", swatch(row.token), cell(word(row.token), kText));
    for (const std::int64_t count : row.counts) text += cell(std::to_string(count));
    for (const double margin : row.margins) text += cell(number(margin, 3));
    text += "</tr>\n";
  }
  return text + "</table></div>\n";
}

std::string Page::changes(const ChangeTable& table, std::int64_t num_positions) const {
  const std::string title = fmt::format("From {} to {}", html_escaped(table.from_image), html_escaped(table.to_image));
  if (table.rows.empty()) return fmt::format("<h3>{}</h3>\n<p>No word changed.</p>\n", title);
  const std::size_t num_rows = std::min(kMaxChangeRows, table.rows.size());
  std::string text = fmt::format(
      "<h3>{}</h3>\n<div class=\"scroll\"><table>\n<caption>Cells whose word changed: {} of {}; changes listed: {} of "
      "{}, most frequent first</caption>\n<tr><th></th><th class=\"text\">from</th><th></th>"
      "<th class=\"text\">to</th><th>cells</th><th>slices</th><th class=\"text\">where (slice: row, "
      "column)</th></tr>\n",
      title, table.num_changed, num_positions, num_rows, table.rows.size());
  for (std::size_t k = 0; k < num_rows; ++k) {
    const ChangeRow& row = table.rows[k];
    std::vector<std::string> places;
    for (const auto& [slice, r, c] : row.positions) {
      if (places.size() < kMaxPositionsShown) places.push_back(fmt::format("{}: {}, {}", slice, r, c));
    }
    if (static_cast<std::int64_t>(places.size()) < row.count) places.emplace_back("&hellip;");
    text += fmt::format("<tr>{}{}{}{}{}{}{}</tr>\n", swatch(row.from), cell(word(row.from), kText), swatch(row.to),
                        cell(word(row.to), kText), cell(std::to_string(row.count)),
                        cell(std::to_string(row.num_slices)), cell(fmt::format("{}", fmt::join(places, "; ")), kText));
  }
  return text + "</table></div>\n";
}

std::string Page::level(const LevelExplanation& level) const {
  std::string text = fmt::format("<h2>Level {}: {} x {} words per image, cells of {} x {} pixels</h2>\n", level.level,
                                 level.rows, level.columns, level.cell_pixels, level.cell_pixels);
  text += words(level);
  if (level.changes.empty()) return text;
  text += "<details><summary>Which words changed, and where</summary>\n";
  for (const ChangeTable& table : level.changes) text += changes(table, level.num_positions);
  return text + "</details>\n";
}

std::string Page::slices(const std::vector<ExplanationPicture>& pictures) const {
  if (pictures.empty()) return "";
  std::string text =
      "<h2>Word maps</h2>\n<p>Cells of one word are outlined together; a number is that of the word in the tables. "
      "Grey cells hold rarer words. The legend's margin is that of the normal dose. ";
  if (explanation_.images.size() > 1) {
    text += "The lower row marks the cells whose word changed, as old&gt;new or with the number of the new word. ";
  }
  text += "Click a picture for its full size.</p>\n";
  for (const ExplanationPicture& picture : pictures) {
    const std::string caption = html_escaped(fmt::format("{}, level {}", picture.slice, picture.level));
    text += fmt::format(
        "<figure><figcaption>{}</figcaption><div class=\"scroll\"><label><input type=\"checkbox\">"
        "<img alt=\"{}: words over the CT images\" src=\"data:image/png;base64,{}\"></label></div></figure>\n",
        caption, caption, base64(picture.png));
  }
  return text;
}

}  // namespace

std::string html_escaped(std::string_view text) {
  std::string escaped;
  for (const char letter : text) {
    switch (letter) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += letter;
    }
  }
  return escaped;
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t first = 0; first < bytes.size(); first += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - first);
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      bits = bits << 8 | (k < count ? static_cast<unsigned char>(bytes[first + k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) text += k <= count ? kDigits[(bits >> (18 - 6 * k)) & 63U] : '=';
  }
  return text;
}

std::string to_html(const Explanation& explanation, const language::Vocabulary& vocabulary,
                    const ExplanationSources& sources, const WordNumbers& numbers,
                    const std::vector<ExplanationPicture>& pictures, const ExplanationDisplay& display) {
  const Page page(explanation, vocabulary, numbers, display);
  std::string text = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>LEDA word maps</title>\n"
      "<style>{}</style>\n</head>\n<body>\n",
      kStyle);
  text += page.head(sources) + page.agreement() + page.patients() + page.slices(pictures);
  for (const LevelExplanation& level : explanation.levels) text += page.level(level);
  return text + "</body>\n</html>\n";
}

}  // namespace leda::explanation
