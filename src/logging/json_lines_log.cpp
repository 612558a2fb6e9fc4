#include "logging/json_lines_log.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/clock.hpp"

namespace leda::logging {
namespace {

using Json = nlohmann::ordered_json;

Json json_number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0.0 ? "Infinity" : "-Infinity";
  return value;
}

// What follows the last line end: empty in a file that was left in order.
std::string tail_of(const AppendFile& file) {
  constexpr std::int64_t kBlockBytes = 4096;
  std::string tail;
  for (std::int64_t end = file.size(); end > 0;) {
    const std::int64_t begin = std::max<std::int64_t>(0, end - kBlockBytes);
    const std::string block = file.read(begin, end - begin);
    const std::size_t line_end = block.rfind('\n');
    if (line_end != std::string::npos) return block.substr(line_end + 1) + tail;
    tail = block + tail;
    end = begin;
  }
  return tail;
}

void mend_last_line(AppendFile& file) {
  const std::string tail = tail_of(file);
  if (tail.empty()) return;
  if (Json::accept(tail)) {
    file.append("\n");
  } else {
    file.cut(file.size() - static_cast<std::int64_t>(tail.size()));
  }
}

}  // namespace

JsonLinesLog::JsonLinesLog(const std::filesystem::path& path) : file_(path, AppendFile::Opening::existing_or_new) {
  mend_last_line(file_);
}

void JsonLinesLog::write(std::int64_t step, std::span<const Scalar> scalars, const std::string& event) {
  Json line;
  line["time"] = base::unix_seconds();
  line["step"] = step;
  if (!event.empty()) line["event"] = event;
  for (const Scalar& scalar : scalars) line[scalar.name] = json_number(scalar.value);
  // Bytes that are not UTF-8 (a file name in an event) become U+FFFD instead of an exception.
  file_.append(line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace leda::logging
