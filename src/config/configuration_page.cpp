#include "config/configuration_page.hpp"

#include <fmt/format.h>

#include <vector>

#include "config/program_pages.hpp"

namespace leda::config {
namespace {

constexpr const char* kIntroduction = R"(# Configuration

This page is made from the programs' own option tables; a test fails when they differ.

An option is a name, `section.name`. Its value comes from, in rising precedence:

1. the default,
2. the option file, `--config FILE`; without one, the embedded job, which is the text of `configs/quickstart.cfg`,
3. the command line: `--section.name value` or `--section.name=value`. A value that is empty or begins with a minus sign
   stands behind an equals sign, `--data.window=-200:300`, or in a file.

An option file holds a line `section.name = value` for each option it sets; `#` begins a comment, and below a heading
`[section]` the names stand without their section. `leda_dist_train --dump-config` prints a complete file. Names are
never abbreviated. An unknown name, a value of the wrong kind or out of its range, and a name given twice in one place
end the job with code 10, before anything is read or written. Numbers have a decimal point in every locale; lists have
commas: `16,4,1`.

Beside the options, all programs and the commands of `leda_data` take `--help` (one screen), `--help SECTION`,
`--help all`, `--version`, `--config FILE` (or `--config=FILE`), `--dump-config` and `--quiet`; `leda_dist_train` takes
`--dry-run`, `--new-run` and `--report` as well. After `source launch/environment` there are man pages
(`man leda_dist_train`) and, in bash, completion; both are made from these tables, too.

A run keeps its options in `options.cfg` of its folder. When it is resumed, only options marked *resume* may have other
values; the others are refused by name, and `--new-run` starts a run with the new values beside the old one.

The column *embedded job* is filled where that job differs from the default.
)";

std::string code(const std::string& text) { return text.empty() ? "(empty)" : "`" + text + "`"; }

std::string table_cell(const std::string& text) {
  std::string cell;
  for (const char c : text) cell += c == '|' ? std::string("\\|") : std::string(1, c);
  return cell;
}

std::string job_tables(const ProgramPages& pages) {
  std::string text;
  for (const SectionDescription& section : pages.sections) {
    text +=
        fmt::format("\n## {}\n\nOf {}.\n\n| option | kind | default | embedded job | | |\n|---|---|---|---|---|---|\n",
                    section.name, section.description);
    for (const OptionDescription& option : pages.options) {
      if (option.section() != section.name) continue;
      text += fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", option.key, option.kind, code(option.default_text),
                          option.text != option.default_text ? code(option.text) : "",
                          option.may_change_on_resume ? "resume" : "", table_cell(option.description));
    }
  }
  return text;
}

std::string program_table(const ProgramPages& pages) {
  std::string text = fmt::format("\n### {}\n\n{}: {}. {}\n", pages.program.name, pages.program.name,
                                 pages.program.summary, pages.program.description);
  if (pages.options.empty()) return text;
  text += "\n| option | kind | default | |\n|---|---|---|---|\n";
  for (const OptionDescription& option : pages.options) {
    text += fmt::format("| `{}` | {} | {} | {} |\n", option.key, option.kind, code(option.default_text),
                        table_cell(option.description));
  }
  return text;
}

}  // namespace

std::string configuration_page() {
  std::string page = kIntroduction;
  const std::vector<ProgramPages> programs = all_program_pages();
  page += job_tables(programs.front());
  page += "\n## Options of the other programs\n";
  for (std::size_t i = 1; i < programs.size(); ++i) page += program_table(programs[i]);
  return page;
}

}  // namespace leda::config
