// The one option system of all programs: defaults < file < command line. An option is a name, `section.name`, bound to
// a variable whose value at binding time is the default, with its help, what its values may be, and whether a run that
// is resumed may have another. Parsing, checks, --dump-config, help, man pages, completion and the configuration page
// come from this table. Built once in a program's main, used up by parse().
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/choice.hpp"
#include "config/option_rule.hpp"

namespace leda::config {

// An option as a reader of help and documents sees it.
struct OptionDescription {
  std::string key;
  std::string description;
  std::string kind;                  // what a value looks like: "a whole number, 1 or more"
  std::vector<std::string> choices;  // all values, or all members of a list; empty where there is no such list
  std::string default_text;
  std::string text;  // the value now
  bool is_switch = false;
  bool may_change_on_resume = false;

  std::string section() const { return key.substr(0, key.find('.')); }
};

struct SectionDescription {
  std::string name;
  std::string description;
};

class OptionTable {
 public:
  // Introduces the options `name.*` that follow.
  void section(const std::string& name, const std::string& description);

  // Binds `key` to a variable that outlives the table. Lists are written with commas: 16,4,1.
  void add(const std::string& key, const std::string& description, bool* target, const Rule& rule = {});
  void add(const std::string& key, const std::string& description, int* target, const Rule& rule = {});
  void add(const std::string& key, const std::string& description, std::int64_t* target, const Rule& rule = {});
  void add(const std::string& key, const std::string& description, std::uint64_t* target, const Rule& rule = {});
  void add(const std::string& key, const std::string& description, double* target, const Rule& rule = {});
  void add(const std::string& key, const std::string& description, std::string* target, const Rule& rule = {});
  void add(const std::string& key, const std::string& description, std::vector<int>* target, const Rule& rule = {});
  void add(const std::string& key, const std::string& description, std::vector<double>* target, const Rule& rule = {});
  void add(const std::string& key, const std::string& description, std::vector<std::string>* target,
           const Rule& rule = {});
  // A choice is written as its name.
  template <base::Choice E>
  void add(const std::string& key, const std::string& description, E* target, const Rule& rule = {});
  template <base::Choice E>
  void add(const std::string& key, const std::string& description, std::vector<E>* target, const Rule& rule = {});

  // `--section.name value` and `--section.name=value`; a bool alone means true. Unknown names, values that do not
  // parse or are not allowed, and a name given twice throw ErrorOnAllRanks(options), which names the nearest known key.
  void parse_arguments(const std::vector<std::string>& arguments);
  // Lines `section.name = value`; `[section]` headings and # comments are allowed. `origin` names the text in messages.
  void parse_text(const std::string& text, const std::string& origin);
  void parse_file(const std::string& path);

  // Sets one key as parse_arguments would; the shortest way from a name to a value for tests and embedded jobs.
  void set(const std::string& key, const std::string& value, const std::string& origin);

  // Values now, as a file that parse_text reads back to the same values, with each description as a comment.
  std::string dump() const;
  // The same without comments: key and value, sorted as bound.
  std::vector<std::pair<std::string, std::string>> values() const;
  // All options, in the order of binding.
  std::vector<OptionDescription> descriptions() const;
  // In the order of their introduction.
  const std::vector<SectionDescription>& sections() const { return sections_; }

 private:
  struct Entry {
    OptionDescription description;                   // but for the value now
    std::function<void(const std::string&)> assign;  // throws std::invalid_argument, or base::Error of a Rule::check
    std::function<std::string()> text;
  };
  void add_entry(Entry entry, const Rule& rule);
  // A list of names, or one of them; `assign` is only called with `choices`.
  void add_choices(const std::string& key, const std::string& description, std::vector<std::string> choices,
                   bool is_list, const std::function<void(const std::vector<std::string>&)>& assign,
                   std::function<std::string()> text, const Rule& rule);
  const Entry& find(const std::string& key, const std::string& origin) const;

  std::vector<Entry> entries_;
  std::vector<SectionDescription> sections_;
};

// The known name with the smallest edit distance to `name`.
std::string nearest_name(const std::string& name, const std::vector<std::string>& known);

template <base::Choice E>
void OptionTable::add(const std::string& key, const std::string& description, E* target, const Rule& rule) {
  const auto names = names_of(E{});
  add_choices(
      key, description, {names.begin(), names.end()}, false,
      [target](const std::vector<std::string>& chosen) { *target = *base::choice_named<E>(chosen.front()); },
      [target] { return base::name_of(*target); }, rule);
}

template <base::Choice E>
void OptionTable::add(const std::string& key, const std::string& description, std::vector<E>* target,
                      const Rule& rule) {
  const auto names = names_of(E{});
  add_choices(
      key, description, {names.begin(), names.end()}, true,
      [target](const std::vector<std::string>& chosen) {
        target->clear();
        for (const std::string& name : chosen) target->push_back(*base::choice_named<E>(name));
      },
      [target] {
        std::string text;
        for (const E value : *target) {
          if (!text.empty()) text += ',';
          text += base::name_of(value);
        }
        return text;
      },
      rule);
}

}  // namespace leda::config
