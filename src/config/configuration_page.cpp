#include "config/configuration_page.hpp"

#include <fmt/format.h>

#include "config/job_option_table.hpp"
#include "config/option_table.hpp"
#include "training/run/run_options_file.hpp"

namespace leda::config {
namespace {

constexpr const char* kIntroduction = R"(# Configuration

This page is made from the program's own option table; a test fails when the two differ.

An option is a name, `section.name`. Its value comes from, in rising precedence:

1. the default,
2. the option file, `--config FILE`; without one, the embedded job, which is the text of `configs/quickstart.cfg`,
3. the command line: `--section.name value` or `--section.name=value`. A value that is empty or begins with a minus sign
   stands behind an equals sign, `--data.window=-200:300`, or in a file.

An option file holds a line `section.name = value` for each option it sets; `#` begins a comment, and below a heading
`[section]` the names stand without their section. `leda_dist_train --dump-config` prints a complete file. Names are
never abbreviated. An unknown name, a value of the wrong kind and a name given twice in one place end the job with code
10, before anything is read or written. Numbers have a decimal point in every locale; lists have commas: `16,4,1`.

Beside the options there are actions: `--help`, `--version`, `--dump-config`, `--config FILE`, `--dry-run`, `--new-run`,
`--report`; `leda_dist_train --help` explains them.

A run keeps its options in `options.cfg` of its folder. When it is resumed, only options marked *resume* may have other
values; the others are refused by name, and `--new-run` starts a run with the new values beside the old one.

The column *embedded job* is filled where that job differs from the default.
)";

std::string section_of(const std::string& key) { return key.substr(0, key.find('.')); }

std::string code(const std::string& text) { return text.empty() ? "(empty)" : "`" + text + "`"; }

std::string table_cell(const std::string& text) {
  std::string cell;
  for (const char c : text) cell += c == '|' ? std::string("\\|") : std::string(1, c);
  return cell;
}

}  // namespace

std::string configuration_page() {
  training::JobOptions job;
  OptionTable table;
  bind_job_options(table, job);
  table.parse_text(embedded_job(), "the embedded job");

  std::string page = kIntroduction;
  std::string section;
  for (const OptionDescription& option : table.descriptions()) {
    if (section_of(option.key) != section) {
      section = section_of(option.key);
      page += fmt::format("\n## {}\n\n| option | kind | default | embedded job | | |\n|---|---|---|---|---|---|\n",
                          section);
    }
    const bool differs = option.text != option.default_text;
    page += fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", option.key, option.kind, code(option.default_text),
                        differs ? code(option.text) : "", training::may_change_on_resume(option.key) ? "resume" : "",
                        table_cell(option.description));
  }
  return page;
}

}  // namespace leda::config
