#include "tests/support/file_faults/fault_plan.hpp"

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <regex>
#include <sstream>

namespace leda::file_faults {
namespace {

std::string own_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMI_RANK"}) {
    if (const char* rank = std::getenv(name)) return rank;
  }
  return "0";
}

Moment moment_named(const std::string& name) {
  if (name == "half") return Moment::half;
  return name == "after" ? Moment::after : Moment::before;
}

}  // namespace

FaultPlan::FaultPlan() : rank_(own_rank()) {
  const char* text = std::getenv("LEDA_FILE_FAULTS");
  std::istringstream words(text != nullptr ? text : "");
  for (std::string word; words >> word;) {
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
    if (name == "folder") folder_ = value;
    if (name == "log") log_ = value;
    if (name == "rank") is_for_this_rank_ = value == rank_;
    if (name == "call") call_ = value;
    if (name == "path") path_ = value;
    if (name == "number") number_ = std::atol(value.c_str());
    if (name == "kind") kind_ = value;
    if (name == "when") moment_ = moment_named(value);
  }
}

std::string FaultPlan::relative(const std::string& absolute_path) const {
  const bool is_below = is_watching() && absolute_path.size() > folder_.size() + 1 &&
                        absolute_path.starts_with(folder_) && absolute_path[folder_.size()] == '/';
  return is_below ? absolute_path.substr(folder_.size() + 1) : "";
}

Moment FaultPlan::moment_of(std::string_view call, std::string_view path) {
  if (!is_for_this_rank_ || call != call_ || path != path_) return Moment::none;
  return ++num_seen_ == number_ ? moment_ : Moment::none;
}

void FaultPlan::strike(std::string_view call, std::string_view path) const {
  std::fprintf(stderr, "file faults: %s at call %ld of %s on %s\n", kind_.c_str(), number_, std::string(call).c_str(),
               std::string(path).c_str());
  std::fflush(stderr);
  int signal_number = SIGKILL;
  if (kind_ == "usr1") signal_number = SIGUSR1;
  if (kind_ == "term") signal_number = SIGTERM;
  kill(getpid(), signal_number);
}

std::string named(std::string_view relative_path) {
  static const std::regex step("step_[0-9]+");
  static const std::regex save("(_tmp|_replaced)-[0-9]+-[0-9a-f]+-");
  static const std::regex file_of_process("(\\.[a-z]+_tmp)-[0-9]+$");
  std::string name(relative_path);
  name = std::regex_replace(name, step, "step_STEP");
  name = std::regex_replace(name, save, "$1-");
  return std::regex_replace(name, file_of_process, "$1");
}

}  // namespace leda::file_faults
