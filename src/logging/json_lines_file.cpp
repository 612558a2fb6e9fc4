#include "logging/json_lines_file.hpp"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace leda::logging {
namespace {

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

}  // namespace

AppendFile open_json_lines(const std::filesystem::path& path) {
  AppendFile file(path, AppendFile::Opening::existing_or_new);
  const std::string tail = tail_of(file);
  if (tail.empty()) return file;
  if (nlohmann::json::accept(tail)) {
    file.append("\n");
  } else {
    file.cut(file.size() - static_cast<std::int64_t>(tail.size()));
  }
  return file;
}

}  // namespace leda::logging
