// How a call is refused: the error that it throws, for tests of exit codes and messages. What is no ErrorType goes on
// to the test, which it ends.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <source_location>
#include <string>

#include "base/error.hpp"

namespace leda::test {

// The ErrorType that `call` throws; none where it returns.
template <typename ErrorType = base::Error, typename Call>
std::optional<ErrorType> thrown_error(const Call& call) {
  try {
    static_cast<void>(call());
  } catch (const ErrorType& error) {
    return error;
  }
  return std::nullopt;
}

// What a program would end with after `call`.
template <typename ErrorType = base::Error, typename Call>
base::ExitCode exit_code_of(const Call& call) {
  const std::optional<ErrorType> error = thrown_error<ErrorType>(call);
  return error ? error->exit_code() : base::ExitCode::finished;
}

// The error that `call` must throw, with this exit code. Where there is none the test fails but goes on, so that ranks
// stay together; the error is then one that says so.
template <typename ErrorType = base::Error, typename Call>
ErrorType refusal_of(base::ExitCode exit_code, const Call& call,
                     std::source_location where = std::source_location::current()) {
  const int line = static_cast<int>(where.line());
  const std::optional<ErrorType> error = thrown_error<ErrorType>(call);
  if (!error) {
    ADD_FAILURE_AT(where.file_name(), line) << "the call was not refused";
    return ErrorType(base::ExitCode::finished, {.what = "not refused", .value = "", .why = "", .remedy = ""});
  }
  if (error->exit_code() != exit_code) {
    ADD_FAILURE_AT(where.file_name(), line) << "refused with code " << static_cast<int>(error->exit_code())
                                            << " instead of " << static_cast<int>(exit_code) << ": " << error->what();
  }
  return *error;
}

// Its whole message.
template <typename ErrorType = base::Error, typename Call>
std::string refusal_message(base::ExitCode exit_code, const Call& call,
                            std::source_location where = std::source_location::current()) {
  return refusal_of<ErrorType>(exit_code, call, where).what();
}

}  // namespace leda::test
