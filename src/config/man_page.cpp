#include "config/man_page.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace leda::config {
namespace {

std::string page_name(const ProgramDescription& program) {
  std::string name = program.name;
  std::replace(name.begin(), name.end(), ' ', '-');
  return name;
}

// Text as roff takes it: backslashes doubled, a hyphen that is a minus sign, and no line that looks like a request.
std::string escaped(const std::string& text) {
  std::string roff;
  bool starts_line = true;
  for (const char c : text) {
    if (starts_line && (c == '.' || c == '\'')) roff += "\\&";
    if (c == '\\') {
      roff += "\\e";
    } else if (c == '-') {
      roff += "\\-";
    } else {
      roff += c;
    }
    starts_line = c == '\n';
  }
  return roff;
}

std::string upper_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::toupper(c); });
  return text;
}

std::string tagged(const std::string& tag, const std::string& text) {
  return fmt::format(".TP\n.B {}\n{}\n", escaped(tag), escaped(text));
}

std::string flags_of(const ProgramDescription& program) {
  std::string text = ".SH OPTIONS\n";
  text += tagged("--help [SECTION | all]", "What the program does, the options of a section, or all options.");
  text += tagged("--version", "The version.");
  text += tagged("--config FILE", "Read options from FILE; the command line wins over it.");
  text += tagged("--dump-config", "Print all options with their values now, as a file to start from.");
  text += tagged("--quiet", "Print results, warnings and errors alone.");
  for (const ProgramAction& action : program.actions) text += tagged(action.name, action.description + ".");
  return text;
}

std::string option_text(const OptionDescription& option) {
  return tagged(fmt::format("--{} VALUE", option.key),
                fmt::format("{}. A value is {}. Default: {}.{}", option.description, option.kind,
                            option.default_text.empty() ? "empty" : option.default_text,
                            option.may_change_on_resume ? " May change when a run is resumed." : ""));
}

}  // namespace

std::string man_page_file_name(const ProgramDescription& program) { return page_name(program) + ".1"; }

std::string man_page(const ProgramPages& pages) {
  const ProgramDescription& program = pages.program;
  const std::string name = page_name(program);
  std::string text =
      fmt::format(".TH {} 1 \"\" \"LEDA-HPC {}\" \"LEDA-HPC\"\n", escaped(upper_case(name)), LEDA_VERSION);
  text += fmt::format(".SH NAME\n{} \\- {}\n", escaped(name), escaped(program.summary));
  text +=
      fmt::format(".SH SYNOPSIS\n.B {}\n[\\-\\-config FILE] [\\-\\-SECTION.NAME VALUE ...]\n", escaped(program.name));
  text += fmt::format(".SH DESCRIPTION\n{}\n", escaped(program.description));
  text += flags_of(program);
  if (!program.commands.empty()) text += ".SH COMMANDS\n";
  for (const ProgramAction& command : program.commands) {
    text += tagged(command.name, fmt::format("{}: see {}-{}(1).", command.description, name, command.name));
  }
  for (const SectionDescription& section : pages.sections) {
    text += fmt::format(".SS {}: {}\n", escaped(section.name), escaped(section.description));
    for (const OptionDescription& option : pages.options) {
      if (option.section() == section.name) text += option_text(option);
    }
  }
  if (!program.examples.empty()) text += ".SH EXAMPLES\n";
  for (const ProgramExample& example : program.examples) {
    text += fmt::format(".PP\n.nf\n{}\n.fi\n{}", escaped(example.command),
                        example.meaning.empty() ? "" : escaped(example.meaning) + "\n");
  }
  text +=
      ".SH EXIT STATUS\n0 where all was done; 85 where a run was saved and the same command goes on with it; other "
      "codes name "
      "what went wrong: see docs/exit_codes.md.\n";
  return text;
}

}  // namespace leda::config
