#include "distributed/core/error_message.hpp"

#include <nlohmann/json.hpp>

namespace leda::distributed {

using Json = nlohmann::json;

std::string error_message(const base::Error& error) {
  const base::ErrorText& text = error.text();
  const Json message{{"exit_code", static_cast<int>(error.exit_code())},
                     {"what", text.what},
                     {"value", text.value},
                     {"why", text.why},
                     {"remedy", text.remedy}};
  return message.dump(-1, ' ', false, Json::error_handler_t::replace);
}

base::ErrorOnAllRanks error_of_message(const std::string& message) {
  const Json parsed = Json::parse(message);
  return {
      static_cast<base::ExitCode>(parsed.at("exit_code").get<int>()),
      {.what = parsed.at("what"), .value = parsed.at("value"), .why = parsed.at("why"), .remedy = parsed.at("remedy")}};
}

}  // namespace leda::distributed
