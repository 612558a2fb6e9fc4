#include "config/help_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "base/error.hpp"

namespace leda::config {
namespace {

constexpr std::size_t kHelpColumns = 100;
constexpr std::size_t kScreenLines = 24;
// With more sections than this they stand in two columns.
constexpr std::size_t kMaxSectionLines = 8;

using Rows = std::vector<std::pair<std::string, std::string>>;

// Names padded to one width, what they mean beside them.
std::string two_columns(const Rows& rows) {
  std::size_t width = 0;
  for (const auto& [name, meaning] : rows) width = std::max(width, name.size());
  std::string text;
  for (const auto& [name, meaning] : rows) {
    text += wrapped(fmt::format("  {:<{}}  {}", name, width, meaning), kHelpColumns, width + 4) + "\n";
  }
  return text;
}

std::string value_now(const OptionDescription& option) { return option.text.empty() ? "empty" : option.text; }

std::string short_list(const OptionTable& table) {
  Rows rows;
  for (const OptionDescription& option : table.descriptions()) {
    rows.emplace_back("--" + option.key, fmt::format("{} [{}]", option.description, value_now(option)));
  }
  return two_columns(rows);
}

std::string section_list(const OptionTable& table) {
  Rows rows;
  for (const SectionDescription& section : table.sections()) rows.emplace_back(section.name, section.description);
  if (rows.size() <= kMaxSectionLines) return two_columns(rows);
  // Side by side, downwards first.
  const std::size_t num_lines = (rows.size() + 1) / 2;
  const std::string left = two_columns({rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(num_lines)});
  const std::string right = two_columns({rows.begin() + static_cast<std::ptrdiff_t>(num_lines), rows.end()});
  std::istringstream left_lines(left), right_lines(right);
  std::string text;
  for (std::string line, beside; std::getline(left_lines, line);) {
    const bool has_both = static_cast<bool>(std::getline(right_lines, beside));
    text += has_both ? fmt::format("{:<{}}{}\n", line, kHelpColumns / 2, beside) : fmt::format("{}\n", line);
  }
  return text;
}

std::string example_list(const std::vector<ProgramExample>& examples) {
  Rows rows;
  for (const ProgramExample& example : examples) rows.emplace_back(example.command, example.meaning);
  const bool has_meanings = std::any_of(examples.begin(), examples.end(),
                                        [](const ProgramExample& example) { return !example.meaning.empty(); });
  if (has_meanings) return two_columns(rows);
  std::string text;
  for (const ProgramExample& example : examples) text += fmt::format("  {}\n", example.command);
  return text;
}

std::string screen(const ProgramDescription& program, const OptionTable& table) {
  const std::string head = fmt::format("{}: {}. {}", program.name, program.summary, program.description);
  Rows flags{{"--help SECTION | all", "the options of a section, or all"},
             {"--version  --dump-config", "print the version; print all options as a file to start from"},
             {"--config FILE  --quiet", "read options from FILE; print results, warnings and errors alone"}};
  for (const ProgramAction& action : program.actions) flags.emplace_back(action.name, action.description);
  const std::string text =
      fmt::format("{}\n\n{}\n{}", wrapped(head, kHelpColumns, 0), example_list(program.examples), two_columns(flags));
  if (!program.commands.empty()) {
    Rows rows;
    for (const ProgramAction& command : program.commands) rows.emplace_back(command.name, command.description);
    return fmt::format("{}\nCommands:\n{}", text, two_columns(rows));
  }
  const std::string with_options =
      fmt::format("{}\nOptions, written --SECTION.NAME VALUE, with their values now:\n{}", text, short_list(table));
  const auto num_lines = static_cast<std::size_t>(std::count(with_options.begin(), with_options.end(), '\n'));
  if (num_lines <= kScreenLines) return with_options;
  return fmt::format("{}\nSections of options, which are written --SECTION.NAME VALUE:\n{}", text, section_list(table));
}

std::string options_of(const OptionTable& table, const SectionDescription& section) {
  std::string text = fmt::format("{}: {}\n", section.name, section.description);
  for (const OptionDescription& option : table.descriptions()) {
    if (option.section() != section.name) continue;
    const std::string facts = fmt::format("{}. Now {}, default {}.{}", option.kind, value_now(option),
                                          option.default_text.empty() ? "empty" : option.default_text,
                                          option.may_change_on_resume ? " May change on resume." : "");
    text += fmt::format("\n  --{}\n      {}\n      {}\n", option.key, wrapped(option.description, kHelpColumns - 6, 6),
                        wrapped(facts, kHelpColumns - 6, 6));
  }
  return text;
}

}  // namespace

std::string wrapped(const std::string& text, std::size_t width, std::size_t indent) {
  std::string lines;
  std::size_t column = 0;
  std::size_t from = 0;
  while (from < text.size()) {
    std::size_t to = text.find(' ', text.find_first_not_of(' ', from));
    if (to == std::string::npos) to = text.size();
    const std::string word = text.substr(from, to - from);  // with the spaces before it
    if (column > 0 && column + word.size() > width) {
      lines += '\n';
      lines.append(indent, ' ');
      const std::string bare = word.substr(word.find_first_not_of(' '));
      lines += bare;
      column = indent + bare.size();
    } else {
      lines += word;
      column += word.size();
    }
    from = to;
  }
  return lines;
}

std::string help_text(const ProgramDescription& program, const OptionTable& table, const std::string& section) {
  if (section.empty()) return screen(program, table);
  std::string text;
  std::vector<std::string> known{"all"};
  for (const SectionDescription& its : table.sections()) {
    known.push_back(its.name);
    if (section == "all" || section == its.name)
      text += fmt::format("{}{}", text.empty() ? "" : "\n", options_of(table, its));
  }
  if (!text.empty()) return text;
  throw base::ErrorOnAllRanks(base::ExitCode::options,
                              {.what = "there is no section of options of that name",
                               .value = section,
                               .why = "",
                               .remedy = fmt::format("did you mean {}? The sections are {}",
                                                     nearest_name(section, known), fmt::join(known, ", "))});
}

}  // namespace leda::config
