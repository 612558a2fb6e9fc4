// The one exception type for what the world does wrong: bad options, files, disks, networks. Mistakes of ours are
// assertions. Thrown anywhere, caught once, in programs/run_program.
#pragma once

#include <stdexcept>
#include <string>

#include "base/exit_code.hpp"

namespace leda::base {

// The four sentences every message is made of. `value` and `why` may be empty; `what` and `remedy` may not.
struct ErrorText {
  std::string what;    // what failed, with the file, option or parameter it concerns
  std::string value;   // the value that was found
  std::string why;     // why it matters
  std::string remedy;  // what to try
};

class Error : public std::runtime_error {
 public:
  Error(ExitCode exit_code, ErrorText text);

  ExitCode exit_code() const { return exit_code_; }
  const ErrorText& text() const { return text_; }

 private:
  ExitCode exit_code_;
  ErrorText text_;
};

// Thrown instead of Error where every rank finds the same fault by itself (a bad option, say): rank 0 alone prints it.
class ErrorOnAllRanks : public Error {
 public:
  using Error::Error;
};

}  // namespace leda::base
