#include "logging/json_lines_log.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/clock.hpp"
#include "logging/json_lines_file.hpp"

namespace leda::logging {
namespace {

using OrderedJson = nlohmann::ordered_json;

OrderedJson json_number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0.0 ? "Infinity" : "-Infinity";
  return value;
}

}  // namespace

JsonLinesLog::JsonLinesLog(const std::filesystem::path& path) : file_(open_json_lines(path)) {}

void JsonLinesLog::write(std::int64_t step, std::span<const Scalar> scalars, const std::string& event) {
  OrderedJson line;
  line["time"] = base::unix_seconds();
  line["step"] = step;
  if (!event.empty()) line["event"] = event;
  for (const Scalar& scalar : scalars) line[scalar.name] = json_number(scalar.value);
  // Bytes that are not UTF-8 (a file name in an event) become U+FFFD instead of an exception.
  file_.append(line.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
}

}  // namespace leda::logging
