#include "base/error.hpp"

#include <fmt/format.h>

#include <utility>

namespace leda::base {
namespace {

std::string message(const ErrorText& text) {
  std::string line = text.what;
  if (!text.value.empty()) line += fmt::format(": {}", text.value);
  if (!text.why.empty()) line += fmt::format("\n  why it matters: {}", text.why);
  return line + fmt::format("\n  what to try: {}", text.remedy);
}

}  // namespace

Error::Error(ExitCode exit_code, ErrorText text)
    : std::runtime_error(message(text)), exit_code_(exit_code), text_(std::move(text)) {}

}  // namespace leda::base
