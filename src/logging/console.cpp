#include "logging/console.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

namespace leda::logging {
namespace {

// Open MPI gives each rank a terminal of its own, whatever its own output is: what counts is mpirun's, the parent's.
bool is_shown_on_terminal(std::FILE* output) {
  if (isatty(fileno(output)) != 1) return false;
  if (std::getenv("OMPI_COMM_WORLD_SIZE") == nullptr) return true;
  const std::string parents_output = "/proc/" + std::to_string(getppid()) + "/fd/1";
  const int descriptor = open(parents_output.c_str(), O_WRONLY | O_NOCTTY | O_CLOEXEC);
  if (descriptor < 0) return false;
  const bool is_terminal = isatty(descriptor) == 1;
  close(descriptor);
  return is_terminal;
}

}  // namespace

Console::Console(int rank, Verbosity verbosity) : Console(rank, stdout, stderr, verbosity) {}

Console::Console(int rank, std::FILE* output, std::FILE* errors, Verbosity verbosity)
    : rank_(rank),
      output_(output),
      errors_(errors),
      is_quiet_(verbosity == Verbosity::quiet),
      is_terminal_(is_shown_on_terminal(output)) {}

void Console::info(const std::string& line) {
  if (!is_quiet_) print(line);
}

void Console::print(const std::string& lines) {
  if (is_root()) write_line(output_, lines + "\n");
}

void Console::warning(const std::string& line) {
  if (is_root()) write_line(errors_, "warning: " + line + "\n");
}

void Console::error_on_rank(const std::string& line) {
  write_line(errors_, "rank " + std::to_string(rank_) + ": " + line + "\n");
}

void Console::redraw(const std::string& line) {
  if (!is_root() || is_quiet_) return;
  const std::scoped_lock lock(mutex_);
  const std::string text = "\r\033[K" + line;  // to the left margin, clear to the end of the line
  std::fwrite(text.data(), 1, text.size(), output_);
  std::fflush(output_);
  has_redrawn_line_ = true;
}

void Console::keep_redrawn_line() {
  const std::scoped_lock lock(mutex_);
  if (!has_redrawn_line_) return;
  std::fputc('\n', output_);
  std::fflush(output_);
  has_redrawn_line_ = false;
}

// Handed over in one piece, so that ranks sharing a terminal do not cut each other's lines.
void Console::write_line(std::FILE* stream, const std::string& line) {
  const std::scoped_lock lock(mutex_);
  if (has_redrawn_line_) {
    std::fputs("\r\033[K", output_);
    std::fflush(output_);
    has_redrawn_line_ = false;
  }
  std::fwrite(line.data(), 1, line.size(), stream);
  std::fflush(stream);
}

}  // namespace leda::logging
