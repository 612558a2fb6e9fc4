// The one option system of all programs: defaults < file < command line. An option is a name, `section.name`, bound to
// a variable whose value at binding time is the default. Built once in a program's main, used up by parse().
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace leda::config {

// An option as a reader of documents sees it.
struct OptionDescription {
  std::string key;
  std::string description;
  std::string kind;  // what a value looks like: "a whole number"
  std::string default_text;
  std::string text;  // the value now
};

class OptionTable {
 public:
  // Binds `key` to a variable that outlives the table. Lists are written with commas: 16,4,1.
  void add(const std::string& key, const std::string& description, bool* target);
  void add(const std::string& key, const std::string& description, int* target);
  void add(const std::string& key, const std::string& description, std::int64_t* target);
  void add(const std::string& key, const std::string& description, std::uint64_t* target);
  void add(const std::string& key, const std::string& description, double* target);
  void add(const std::string& key, const std::string& description, std::string* target);
  void add(const std::string& key, const std::string& description, std::vector<int>* target);
  void add(const std::string& key, const std::string& description, std::vector<double>* target);
  void add(const std::string& key, const std::string& description, std::vector<std::string>* target);

  // `--section.name value` and `--section.name=value`; a bool alone means true. Unknown names, values that do not
  // parse and a name given twice throw ErrorOnAllRanks(options), which names the nearest known key.
  void parse_arguments(const std::vector<std::string>& arguments);
  // Lines `section.name = value`; `[section]` headings and # comments are allowed. `origin` names the text in messages.
  void parse_text(const std::string& text, const std::string& origin);
  void parse_file(const std::string& path);

  // Sets one key as parse_arguments would; the shortest way from a name to a value for tests and embedded jobs.
  void set(const std::string& key, const std::string& value, const std::string& origin);

  // Values now, as a file that parse_text reads back to the same values, with each description as a comment.
  std::string dump() const;
  // The same without comments: `key = value` lines, sorted as bound.
  std::vector<std::pair<std::string, std::string>> values() const;
  // All options, in the order of binding.
  std::vector<OptionDescription> descriptions() const;
  // One line per option with its value now.
  std::string help_text() const;

 private:
  struct Entry {
    std::string key;
    std::string description;
    std::string kind;  // what a value looks like, for messages and help
    std::string default_text;
    std::function<void(const std::string&)> assign;  // throws std::invalid_argument
    std::function<std::string()> text;
    bool is_switch = false;
  };
  void add_entry(Entry entry);
  const Entry& find(const std::string& key, const std::string& origin) const;

  std::vector<Entry> entries_;
};

// The known name with the smallest edit distance to `name`.
std::string nearest_name(const std::string& name, const std::vector<std::string>& known);

}  // namespace leda::config
