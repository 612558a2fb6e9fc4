// What a run says to the person in front of it: one line at a time, from rank 0, flushed. Lives in main; may be used
// from several threads.
#pragma once

#include <cstdio>
#include <mutex>
#include <string>

namespace leda::logging {

// quiet: info() and redraw() are silent.
enum class Verbosity { normal, quiet };

class Console {
 public:
  explicit Console(int rank, Verbosity verbosity = Verbosity::normal);
  // Other streams than stdout and stderr; they must outlive the console.
  Console(int rank, std::FILE* output, std::FILE* errors, Verbosity verbosity = Verbosity::normal);

  // Rank 0 only: a line on standard output of what is going on.
  void info(const std::string& line);
  // Rank 0 only: lines on standard output that were asked for, a result or an answer; a quiet console prints them too.
  void print(const std::string& lines);
  // Rank 0 only: a line on standard error, after "warning: ".
  void warning(const std::string& line);
  // Any rank: a line on standard error, after "rank N: ".
  void error_on_rank(const std::string& line);

  // Rank 0 only: a line on a terminal that the next redraw() replaces and the next info() moves below.
  void redraw(const std::string& line);
  // Leaves what redraw() drew last where it is and continues below it.
  void keep_redrawn_line();

  bool is_terminal() const { return is_terminal_; }  // standard output
  bool is_root() const { return rank_ == 0; }

 private:
  void write_line(std::FILE* stream, const std::string& line);

  int rank_;
  std::FILE* output_;
  std::FILE* errors_;
  bool is_quiet_;
  bool is_terminal_;
  std::mutex mutex_;
  bool has_redrawn_line_ = false;
};

}  // namespace leda::logging
