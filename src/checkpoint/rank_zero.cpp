#include "checkpoint/rank_zero.hpp"

#include <exception>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.hpp"

namespace leda::checkpoint {
namespace {

using Json = nlohmann::json;

Json failure(base::ExitCode exit_code, const base::ErrorText& text) {
  return {{"exit_code", static_cast<int>(exit_code)},
          {"what", text.what},
          {"value", text.value},
          {"why", text.why},
          {"remedy", text.remedy}};
}

Json outcome_of(const std::function<std::string()>& work) {
  try {
    return {{"exit_code", 0}, {"result", work()}};
  } catch (const base::Error& error) {
    return failure(error.exit_code(), error.text());
  } catch (const std::filesystem::filesystem_error& error) {
    return failure(base::ExitCode::storage,
                   {.what = error.what(), .value = "", .why = "", .remedy = "check the file system and the folder"});
  } catch (const std::exception& error) {
    return failure(base::ExitCode::internal, {.what = "rank 0 could not work on a checkpoint",
                                              .value = error.what(),
                                              .why = "",
                                              .remedy = "if memory is not the reason, please report this"});
  }
}

}  // namespace

std::string on_rank_zero(distributed::Communicator& communicator, const std::function<std::string()>& work) {
  std::string text;
  // File names may hold bytes that are no UTF-8: in a message they are replaced.
  if (communicator.rank() == 0) text = outcome_of(work).dump(-1, ' ', false, Json::error_handler_t::replace);
  const Json outcome = Json::parse(distributed::broadcast_text(communicator, text, 0));
  const int exit_code = outcome.at("exit_code").get<int>();
  if (exit_code == 0) return outcome.at("result").get<std::string>();
  throw base::ErrorOnAllRanks(static_cast<base::ExitCode>(exit_code), {.what = outcome.at("what"),
                                                                       .value = outcome.at("value"),
                                                                       .why = outcome.at("why"),
                                                                       .remedy = outcome.at("remedy")});
}

}  // namespace leda::checkpoint
