// What a process with the library file_faults is told to do, read once from its environment. Plain data and two
// questions; asked under the log's lock, by any thread.
#pragma once

#include <string>
#include <string_view>

namespace leda::file_faults {

enum class Moment { none, before, half, after };  // half: a write of half its bytes

class FaultPlan {
 public:
  // LEDA_FILE_FAULTS, words with blanks between them: see file_faults.cpp. Without it nothing is watched.
  FaultPlan();

  bool is_watching() const { return !folder_.empty(); }
  // `path` below the watched folder, without it; "" where it lies elsewhere or is the folder itself.
  std::string relative(const std::string& absolute_path) const;

  // Counts this call where it is of the kind that is waited for. `path`: as named() gives it.
  Moment moment_of(std::string_view call, std::string_view path);
  // Ends this process (kill, power) or sends it a signal.
  void strike(std::string_view call, std::string_view path) const;

  const std::string& log_path() const { return log_; }
  const std::string& rank() const { return rank_; }
  bool cuts_power() const { return kind_ == "power"; }

 private:
  std::string folder_, log_, rank_;
  std::string call_, path_, kind_;
  bool is_for_this_rank_ = true;
  long number_ = 0;
  long num_seen_ = 0;
  Moment moment_ = Moment::before;
};

// The same name for the same file in every run: the step of a checkpoint becomes STEP, because a busy machine puts
// saves off to other steps, and process and time leave the name of a save under way (.step_STEP_tmp-3: this start's
// third).
std::string named(std::string_view relative_path);

}  // namespace leda::file_faults
