// What a program's help, man page and completion say of it beside its options.
#pragma once

#include <string>
#include <vector>

namespace leda::config {

struct ProgramExample {
  std::string command;
  std::string meaning;
};

// A word of the program's own, without a section and without a value: --dry-run, or a command: import.
struct ProgramAction {
  std::string name;
  std::string description;
};

struct ProgramDescription {
  std::string name;         // "leda_dist_train", "leda_data import"
  std::string summary;      // a phrase: "trains denoisers ..."
  std::string description;  // what it reads and writes, in full sentences
  std::vector<ProgramExample> examples{};
  std::vector<ProgramAction> actions{};
  std::vector<ProgramAction> commands{};  // the first word of the command line, each with options of its own
};

}  // namespace leda::config
