#include "config/option_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options/options_description.hpp>
#include <boost/program_options/parsers.hpp>
#include <charconv>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>

#include "base/error.hpp"

namespace leda::config {
namespace {

using base::ErrorOnAllRanks;
using base::ExitCode;

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

// from_chars: the same in every locale, and no silent acceptance of "12abc".
template <typename Number>
Number parse_number(const std::string& raw, const Range& range) {
  const std::string text = trimmed(raw);
  Number value{};
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc{} || end != text.data() + text.size()) throw std::invalid_argument(raw);
  if (!range.contains(static_cast<double>(value))) throw std::invalid_argument(raw);
  return value;
}

bool parse_bool(const std::string& raw) {
  const std::string text = trimmed(raw);
  if (text == "true" || text == "yes" || text == "on" || text == "1") return true;
  if (text == "false" || text == "no" || text == "off" || text == "0") return false;
  throw std::invalid_argument(raw);
}

template <typename Parse>
auto parse_list(const std::string& text, Parse parse) {
  std::vector<decltype(parse(text))> values;
  if (trimmed(text).empty()) return values;
  std::stringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) values.push_back(parse(trimmed(part)));
  return values;
}

std::string number_text(double value) { return fmt::format("{}", value); }

int edit_distance(const std::string& a, const std::string& b) {
  std::vector<int> row(b.size() + 1);
  for (std::size_t j = 0; j < row.size(); ++j) row[j] = static_cast<int>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    int diagonal = row[0];
    row[0] = static_cast<int>(i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const int substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({substituted, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string nearest_name(const std::string& name, const std::vector<std::string>& known) {
  // A right last part in the wrong section counts as near: users remember the name, not the section.
  const auto distance = [&name](const std::string& candidate) {
    const auto last_part = [](const std::string& text) { return text.substr(text.rfind('.') + 1); };
    return std::min(edit_distance(name, candidate), 1 + edit_distance(last_part(name), last_part(candidate)));
  };
  return *std::min_element(known.begin(), known.end(), [&](const std::string& a, const std::string& b) {
    return std::pair(distance(a), edit_distance(name, a)) < std::pair(distance(b), edit_distance(name, b));
  });
}

void OptionTable::section(const std::string& name, const std::string& description) {
  sections_.push_back({name, description});
}

void OptionTable::add_entry(Entry entry, const Rule& rule) {
  const std::string range = rule.range.text();
  if (!range.empty()) entry.description.kind += ", " + range;
  entry.description.default_text = entry.text();
  entry.description.may_change_on_resume = rule.may_change_on_resume;
  entries_.push_back(std::move(entry));
}

void OptionTable::add(const std::string& key, const std::string& description, bool* target, const Rule& rule) {
  add_entry({{.key = key,
              .description = description,
              .kind = "true or false",
              .choices = {"true", "false"},
              .is_switch = true},
             [target](const std::string& text) { *target = parse_bool(text); },
             [target] { return std::string(*target ? "true" : "false"); }},
            rule);
}
void OptionTable::add(const std::string& key, const std::string& description, int* target, const Rule& rule) {
  add_entry({{.key = key, .description = description, .kind = "a whole number"},
             [target, range = rule.range](const std::string& text) { *target = parse_number<int>(text, range); },
             [target] { return std::to_string(*target); }},
            rule);
}
void OptionTable::add(const std::string& key, const std::string& description, std::int64_t* target, const Rule& rule) {
  add_entry(
      {{.key = key, .description = description, .kind = "a whole number"},
       [target, range = rule.range](const std::string& text) { *target = parse_number<std::int64_t>(text, range); },
       [target] { return std::to_string(*target); }},
      rule);
}
void OptionTable::add(const std::string& key, const std::string& description, std::uint64_t* target, const Rule& rule) {
  Rule natural = rule;
  natural.range.lowest = std::max(natural.range.lowest, 0.0);
  add_entry(
      {{.key = key, .description = description, .kind = "a whole number"},
       [target, range = natural.range](const std::string& text) { *target = parse_number<std::uint64_t>(text, range); },
       [target] { return std::to_string(*target); }},
      natural);
}
void OptionTable::add(const std::string& key, const std::string& description, double* target, const Rule& rule) {
  add_entry({{.key = key, .description = description, .kind = "a number with a decimal point"},
             [target, range = rule.range](const std::string& text) { *target = parse_number<double>(text, range); },
             [target] { return number_text(*target); }},
            rule);
}
void OptionTable::add(const std::string& key, const std::string& description, std::string* target, const Rule& rule) {
  if (!rule.names.empty()) {
    add_choices(
        key, description, rule.names, false,
        [target](const std::vector<std::string>& chosen) { *target = chosen.front(); }, [target] { return *target; },
        rule);
    return;
  }
  add_entry({{.key = key, .description = description, .kind = "text"},
             [target, check = rule.check](const std::string& text) {
               if (check) check(trimmed(text));
               *target = trimmed(text);
             },
             [target] { return *target; }},
            rule);
}
void OptionTable::add(const std::string& key, const std::string& description, std::vector<int>* target,
                      const Rule& rule) {
  add_entry({{.key = key, .description = description, .kind = "whole numbers with commas"},
             [target, range = rule.range](const std::string& text) {
               *target = parse_list(text, [&](const std::string& part) { return parse_number<int>(part, range); });
             },
             [target] { return fmt::format("{}", fmt::join(*target, ",")); }},
            rule);
}
void OptionTable::add(const std::string& key, const std::string& description, std::vector<double>* target,
                      const Rule& rule) {
  add_entry({{.key = key, .description = description, .kind = "numbers with commas"},
             [target, range = rule.range](const std::string& text) {
               *target = parse_list(text, [&](const std::string& part) { return parse_number<double>(part, range); });
             },
             [target] { return fmt::format("{}", fmt::join(*target, ",")); }},
            rule);
}
void OptionTable::add(const std::string& key, const std::string& description, std::vector<std::string>* target,
                      const Rule& rule) {
  add_entry({{.key = key, .description = description, .kind = "names with commas"},
             [target, check = rule.check](const std::string& text) {
               const std::vector<std::string> parts = parse_list(text, trimmed);
               if (check) std::for_each(parts.begin(), parts.end(), check);
               *target = parts;
             },
             [target] { return fmt::format("{}", fmt::join(*target, ",")); }},
            rule);
}

void OptionTable::add_choices(const std::string& key, const std::string& description, std::vector<std::string> choices,
                              bool is_list, const std::function<void(const std::vector<std::string>&)>& assign,
                              std::function<std::string()> text, const Rule& rule) {
  const std::string kind = fmt::format("{}{}", is_list ? "with commas, of: " : "one of: ", fmt::join(choices, ", "));
  const auto assign_known = [assign, is_list, choices](const std::string& value) {
    const std::vector<std::string> chosen = is_list ? parse_list(value, trimmed) : std::vector{trimmed(value)};
    for (const std::string& name : chosen) {
      if (std::find(choices.begin(), choices.end(), name) == choices.end()) throw std::invalid_argument(name);
    }
    assign(chosen);
  };
  add_entry({{.key = key, .description = description, .kind = kind, .choices = std::move(choices)},
             assign_known,
             std::move(text)},
            rule);
}

const OptionTable::Entry& OptionTable::find(const std::string& key, const std::string& origin) const {
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.description.key == key; });
  if (found != entries_.end()) return *found;
  std::vector<std::string> known;
  for (const Entry& entry : entries_) known.push_back(entry.description.key);
  throw ErrorOnAllRanks(ExitCode::options,
                        {.what = "unknown option (" + origin + ")",
                         .value = key,
                         .why = "an option that is not read would be ignored silently",
                         .remedy = "did you mean " + nearest_name(key, known) + "? --help lists all"});
}

void OptionTable::set(const std::string& key, const std::string& value, const std::string& origin) {
  const Entry& entry = find(key, origin);
  const OptionDescription& option = entry.description;
  try {
    entry.assign(value);
  } catch (const std::invalid_argument& fault) {
    const bool is_near = !option.is_switch && !option.choices.empty() && !trimmed(fault.what()).empty();
    throw ErrorOnAllRanks(
        ExitCode::options,
        {.what = fmt::format("option {} ({}) is not {}", key, origin, option.kind),
         .value = "'" + value + "'",
         .why = "",
         .remedy =
             fmt::format("{}the default is {}",
                         is_near ? fmt::format("did you mean {}? ", nearest_name(fault.what(), option.choices)) : "",
                         option.default_text.empty() ? "empty" : option.default_text)});
  } catch (const base::Error& fault) {
    throw ErrorOnAllRanks(ExitCode::options, {.what = fmt::format("option {} ({})", key, origin),
                                              .value = "'" + value + "'",
                                              .why = fault.text().why,
                                              .remedy = fault.text().remedy});
  }
}

void OptionTable::parse_arguments(const std::vector<std::string>& arguments) {
  namespace po = boost::program_options;
  po::options_description description;
  for (const Entry& entry : entries_) {
    auto value = po::value<std::string>();
    if (entry.description.is_switch) value->implicit_value("true");
    description.add_options()(entry.description.key.c_str(), value);
  }
  po::parsed_options parsed(&description);
  try {
    // No abbreviations: a new option must not change what an old command line means.
    const int style = po::command_line_style::default_style & ~po::command_line_style::allow_guessing;
    parsed = po::command_line_parser(arguments).options(description).style(style).allow_unregistered().run();
  } catch (const po::error& fault) {
    throw ErrorOnAllRanks(ExitCode::options, {.what = "command line",
                                              .value = fault.what(),
                                              .why = "",
                                              .remedy = "write --section.name value; --help lists all options"});
  }
  std::set<std::string> seen;
  for (const auto& option : parsed.options) {
    const std::string written = option.original_tokens.empty() ? option.string_key : option.original_tokens.front();
    if (option.unregistered || option.string_key.empty()) {
      const std::string name = written.substr(std::min(written.find_first_not_of('-'), written.size()));
      find(name.substr(0, name.find('=')), "command line");
    }
    if (!seen.insert(option.string_key).second) {
      throw ErrorOnAllRanks(ExitCode::options, {.what = "option given twice on the command line",
                                                .value = option.string_key,
                                                .why = "only one of the values could be used",
                                                .remedy = "leave one of them out"});
    }
    set(option.string_key, option.value.empty() ? "true" : option.value.front(), "command line");
  }
}

void OptionTable::parse_text(const std::string& text, const std::string& origin) {
  namespace po = boost::program_options;
  po::options_description description;
  for (const Entry& entry : entries_)
    description.add_options()(entry.description.key.c_str(), po::value<std::string>());
  std::istringstream stream(text);
  try {
    std::set<std::string> seen;
    for (const auto& option : po::parse_config_file(stream, description, true).options) {
      if (!seen.insert(option.string_key).second) {
        throw ErrorOnAllRanks(ExitCode::options, {.what = "option given twice in " + origin,
                                                  .value = option.string_key,
                                                  .why = "only one of the values could be used",
                                                  .remedy = "delete one of the lines"});
      }
      set(option.string_key, option.value.empty() ? "" : option.value.front(), origin);
    }
  } catch (const po::error& fault) {
    throw ErrorOnAllRanks(ExitCode::options, {.what = "cannot read " + origin,
                                              .value = fault.what(),
                                              .why = "",
                                              .remedy = "one 'section.name = value' a line, # starts a comment"});
  }
}

void OptionTable::parse_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw ErrorOnAllRanks(ExitCode::options, {.what = "cannot open the option file",
                                              .value = path,
                                              .why = "",
                                              .remedy = "check --config; --dump-config prints a file to start from"});
  }
  std::ostringstream text;
  text << file.rdbuf();
  parse_text(text.str(), path);
}

std::string OptionTable::dump() const {
  std::string text;
  std::string section;
  for (const OptionDescription& option : descriptions()) {
    if (option.section() != section)
      text += fmt::format("{}# ---- {} ----\n", section.empty() ? "" : "\n", option.section());
    section = option.section();
    text += fmt::format("# {}\n{} = {}\n", option.description, option.key, option.text);
  }
  return text;
}

std::vector<std::pair<std::string, std::string>> OptionTable::values() const {
  std::vector<std::pair<std::string, std::string>> all;
  for (const Entry& entry : entries_) all.emplace_back(entry.description.key, entry.text());
  return all;
}

std::vector<OptionDescription> OptionTable::descriptions() const {
  std::vector<OptionDescription> all;
  for (const Entry& entry : entries_) {
    all.push_back(entry.description);
    all.back().text = entry.text();
  }
  return all;
}

}  // namespace leda::config
