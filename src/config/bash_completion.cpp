#include "config/bash_completion.hpp"

#include <fmt/format.h>

namespace leda::config {
namespace {

// $1: words to choose from; what stands before the cursor is in $current.
constexpr const char* kFunctions =
    R"bash(# Sourced by bash: completes the command lines of LEDA's programs. Made from their option tables.

# Prints the words of a program or command, one a line: options as --SECTION.NAME, flags, and commands.
# $1: "leda_dist_train", "leda_data import".
_leda_words() {
  case $1 in
@WORDS@  esac
}

# Prints the values of an option that is a choice. $1 as above; $2: --SECTION.NAME, or --help.
_leda_values() {
  case "$1 $2" in
@VALUES@  esac
}

_leda_complete() {
  local current=${COMP_WORDS[COMP_CWORD]} before='' program='' i
  # bash has --a=b as three words
  if [[ $current == '=' ]]; then
    before=${COMP_WORDS[COMP_CWORD - 1]} current=''
  elif ((COMP_CWORD >= 2)) && [[ ${COMP_WORDS[COMP_CWORD - 1]} == '=' ]]; then
    before=${COMP_WORDS[COMP_CWORD - 2]}
  else
    before=${COMP_WORDS[COMP_CWORD - 1]}
  fi
  # behind mpirun, too
  for ((i = 0; i < COMP_CWORD; ++i)); do
    case ${COMP_WORDS[i]##*/} in
      leda_data)
        program=leda_data
        if ((i + 1 < COMP_CWORD)) && [[ -n $(_leda_words "leda_data ${COMP_WORDS[i + 1]}") ]]; then
          program="leda_data ${COMP_WORDS[i + 1]}"
        fi
        break ;;
      @NAMES@) program=${COMP_WORDS[i]##*/}; break ;;
    esac
  done
  COMPREPLY=()
  [[ -n $program ]] || return 0
  local choices
  choices=$(_leda_values "$program" "$before")
  if [[ -n $choices ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$current")
  elif [[ $before == --config || ($before == --*.* && $current != --*) ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    compopt -o filenames 2>/dev/null
  else
    mapfile -t COMPREPLY < <(compgen -W "$(_leda_words "$program")" -- "$current")
  fi
}

complete -o bashdefault -o default -F _leda_complete @PROGRAMS@
complete -p mpirun >/dev/null 2>&1 || complete -o bashdefault -o default -F _leda_complete mpirun
)bash";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  return text.replace(at, from.size(), to);
}

std::string words_of(const ProgramPages& pages) {
  std::string words = "--help --version --config --dump-config --quiet";
  for (const ProgramAction& action : pages.program.actions) words += " " + action.name;
  for (const ProgramAction& command : pages.program.commands) words += " " + command.name;
  for (const OptionDescription& option : pages.options) words += " --" + option.key;
  return words;
}

}  // namespace

std::string bash_completion(const std::vector<ProgramPages>& programs) {
  std::string words, values, names, all_names;
  for (const ProgramPages& pages : programs) {
    const std::string& name = pages.program.name;
    words += fmt::format("    '{}') echo '{}' ;;\n", name, words_of(pages));
    std::string sections = "all";
    for (const SectionDescription& section : pages.sections) sections += " " + section.name;
    values += fmt::format("    '{} --help') echo '{}' ;;\n", name, sections);
    for (const OptionDescription& option : pages.options) {
      if (option.choices.empty()) continue;
      values += fmt::format("    '{} --{}') echo '{}' ;;\n", name, option.key, fmt::join(option.choices, " "));
    }
    if (name.find(' ') != std::string::npos) continue;
    all_names += (all_names.empty() ? "" : " ") + name;
    if (pages.program.commands.empty()) names += (names.empty() ? "" : " | ") + name;
  }
  std::string script = replaced(kFunctions, "@WORDS@", words);
  script = replaced(script, "@VALUES@", values);
  script = replaced(script, "@NAMES@", names);
  return replaced(script, "@PROGRAMS@", all_names);
}

}  // namespace leda::config
