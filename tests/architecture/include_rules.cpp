#include "tests/architecture/include_rules.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string_view>

namespace leda::test {
namespace {

// Headers of C and POSIX without a C++ name. What is neither here, nor without an ending (the C++ library), nor in the
// table's last column is a library that no room has been given.
constexpr std::array kSystemHeaders = {
    "arpa/inet.h", "dirent.h",      "dlfcn.h",       "fcntl.h",     "glob.h",         "immintrin.h",    "langinfo.h",
    "libgen.h",    "limits.h",      "locale.h",      "netdb.h",     "netinet/in.h",   "poll.h",         "pthread.h",
    "pwd.h",       "sched.h",       "signal.h",      "spawn.h",     "stdint.h",       "stdlib.h",       "string.h",
    "sys/file.h",  "sys/ioctl.h",   "sys/mman.h",    "sys/mount.h", "sys/resource.h", "sys/sendfile.h", "sys/socket.h",
    "sys/stat.h",  "sys/statvfs.h", "sys/syscall.h", "sys/time.h",  "sys/types.h",    "sys/uio.h",      "sys/utsname.h",
    "sys/vfs.h",   "sys/wait.h",    "time.h",        "unistd.h"};

// LibTorch headers that pull in most of the library: seconds of parsing and up to a gigabyte per file.
constexpr std::array kWideLibTorchHeaders = {"torch/torch.h", "torch/nn.h",    "torch/optim.h",     "torch/script.h",
                                             "torch/all.h",   "torch/types.h", "torch/extension.h", "ATen/ATen.h"};

struct Include {
  int line = 0;
  std::string header;
  bool is_quoted = false;
};

std::string trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(" \t\r") - first + 1));
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(trimmed(part));
  return parts;
}

// What stands between pairs of backticks.
std::vector<std::string> backticked(const std::string& cell) {
  std::vector<std::string> words;
  const auto pieces = split(cell, '`');
  for (std::size_t i = 1; i < pieces.size(); i += 2) words.push_back(pieces[i]);
  return words;
}

bool contains(const std::vector<std::string>& list, const std::string& wanted) {
  return std::find(list.begin(), list.end(), wanted) != list.end();
}

bool starts_with_any(const std::string& header, const auto& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](std::string_view p) { return header.starts_with(p); });
}

std::vector<Include> read_includes(const std::string& text) {
  std::vector<Include> includes;
  std::istringstream stream(text);
  int number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    std::string rest = trimmed(line);
    if (!rest.starts_with('#')) continue;
    rest = trimmed(std::string_view(rest).substr(1));
    if (!rest.starts_with("include")) continue;
    rest = trimmed(std::string_view(rest).substr(7));
    const bool is_quoted = rest.starts_with('"');
    const auto end = rest.find(is_quoted ? '"' : '>', 1);
    if (rest.empty() || end == std::string::npos) continue;
    includes.push_back({number, rest.substr(1, end - 1), is_quoted});
  }
  return includes;
}

// "src/data/x.hpp" -> "data"; "tests/support/y.cpp" -> "support".
std::string folder_of(const std::string& path) {
  const auto parts = split(path, '/');
  return parts.size() > 2 ? parts[1] : "";
}

// "data/shards" -> "data".
std::string parent_of(const std::string& room) { return room.substr(0, room.find('/')); }

// The room whose folder holds the file; `path` without "src/". Null where none does: a room with sub-rooms has no files
// of its own.
const Room* room_of(const std::vector<Room>& rooms, const std::string& path) {
  const std::string folder = path.substr(0, path.rfind('/'));
  const auto found = std::find_if(rooms.begin(), rooms.end(), [&](const Room& room) { return room.name == folder; });
  return found == rooms.end() || found->has_sub_rooms ? nullptr : &*found;
}

// Empty where the header may stand there, else why not.
std::string why_project_header_is_refused(const std::vector<Room>& rooms, const SourceFile& file,
                                          const std::string& header, const std::set<std::string>& known_paths) {
  const bool is_test = file.path.starts_with("tests/");
  if (header.find('/') == std::string::npos || header.starts_with(".")) {
    return "project headers are named from the include root: \"folder/file.hpp\"";
  }
  if (header.starts_with("tests/")) {
    if (!is_test) return "sources do not include tests";
    return known_paths.contains(header) ? "" : "there is no such file";
  }
  if (!known_paths.contains("src/" + header)) return "there is no such file in src/";
  const Room* target = room_of(rooms, header);
  if (is_test || target == nullptr) return "";  // of a target in no room its own file gets the finding
  const Room& room = *room_of(rooms, file.path.substr(4));
  if (room.name == target->name || contains(room.lower_rooms, target->name) ||
      contains(room.lower_rooms, parent_of(target->name))) {
    return "";
  }
  return fmt::format("{}/ may not include {}/ (docs/architecture.md); pass a value or a function down instead",
                     room.name, target->name);
}

std::string why_library_header_is_refused(const std::vector<Room>& rooms, const SourceFile& file,
                                          const std::string& header) {
  const bool is_test = file.path.starts_with("tests/");
  const std::string folder = folder_of(file.path);
  const bool is_standard = header.find('.') == std::string::npos && header.find('/') == std::string::npos;
  if (is_standard || std::find(kSystemHeaders.begin(), kSystemHeaders.end(), header) != kSystemHeaders.end()) return "";
  if (header.starts_with("fmt/")) return "";
  if (header.starts_with("nlohmann/")) {
    return file.path.ends_with(".cpp") ? "" : "nlohmann/json stays in .cpp files";
  }
  if (is_test && (header.starts_with("gtest/") || header.starts_with("gmock/"))) return "";
  if (std::find(kWideLibTorchHeaders.begin(), kWideLibTorchHeaders.end(), header) != kWideLibTorchHeaders.end() ||
      header.starts_with("torch/nn/") || header.starts_with("torch/optim/")) {
    return "too wide a LibTorch header; take the narrowest one that declares what is used";
  }

  std::string owners;
  for (const Room& room : rooms) {
    if (!starts_with_any(header, room.library_headers)) continue;
    const bool is_in_it = is_test ? parent_of(room.name) == folder : &room == room_of(rooms, file.path.substr(4));
    if (is_in_it) return "";
    owners += (owners.empty() ? "" : ", ") + room.name + "/";
  }
  if (!owners.empty()) {
    // The main function of all test programs, and what the benchmarks compare with.
    if (is_test && (folder == "support" || folder == "benchmarks") && header == "mpi.h") return "";
    return fmt::format("only {} may include it (docs/architecture.md)", owners);
  }
  if (starts_with_any(header, std::array{"ATen/", "c10/", "torch/csrc/"})) {
    return !is_test && folder == "base" ? "base/ does without LibTorch" : "";
  }
  return "no room has been given this library; the table of docs/architecture.md says who may use what";
}

}  // namespace

std::vector<Room> read_room_table(const std::string& markdown) {
  std::vector<Room> rooms;
  bool is_in_table = false;
  for (const std::string& line : split(markdown, '\n')) {
    if (!line.starts_with("|")) {
      if (is_in_table) break;
      continue;
    }
    const auto cells = split(line, '|');  // cells[0] is what stands before the first bar
    if (cells.size() < 5) continue;
    if (cells[1] == "folder") is_in_table = true;
    const auto names = backticked(cells[1]);
    if (!is_in_table || names.empty()) continue;

    Room room{.name = names.front(), .lower_rooms = {}, .library_headers = backticked(cells[4])};
    if (room.name.ends_with('/')) room.name.pop_back();
    std::vector<std::string> above;
    for (const Room& other : rooms) above.push_back(other.name);
    if (const std::string parent = parent_of(room.name); parent != room.name) {
      const auto row = std::find_if(rooms.begin(), rooms.end(), [&](const Room& r) { return r.name == parent; });
      if (row == rooms.end()) throw std::runtime_error(room.name + " has no row of " + parent + " above it");
      row->has_sub_rooms = true;
      room.lower_rooms = row->lower_rooms;
      for (const std::string& other : above) {
        if (other.starts_with(parent + "/")) room.lower_rooms.push_back(other);
      }
      rooms.push_back(room);
      continue;
    }
    room.lower_rooms = cells[3] == "all above" ? above : split(cells[3], ',');
    std::erase(room.lower_rooms, "–");
    for (const std::string& lower : room.lower_rooms) {
      if (!contains(above, lower)) throw std::runtime_error(room.name + " names " + lower + ", which no row above has");
    }
    rooms.push_back(room);
  }
  if (rooms.empty()) throw std::runtime_error("no table with the first column \"folder\"");
  return rooms;
}

std::vector<std::string> broken_include_rules(const std::vector<Room>& rooms, const std::vector<SourceFile>& files) {
  std::set<std::string> known_paths;
  for (const SourceFile& file : files) known_paths.insert(file.path);
  std::vector<std::string> broken;
  for (const SourceFile& file : files) {
    if (file.path.starts_with("src/") && room_of(rooms, file.path.substr(4)) == nullptr) {
      broken.push_back(fmt::format("{}: lies in no room of docs/architecture.md", file.path));
      continue;
    }
    for (const Include& include : read_includes(file.text)) {
      const std::string why = include.is_quoted
                                  ? why_project_header_is_refused(rooms, file, include.header, known_paths)
                                  : why_library_header_is_refused(rooms, file, include.header);
      if (!why.empty()) broken.push_back(fmt::format("{}:{}: {}: {}", file.path, include.line, include.header, why));
    }
  }
  return broken;
}

std::vector<std::string> broken_link_rules(const std::vector<Room>& rooms, const std::string& cmake_text) {
  std::vector<std::string> broken;
  for (const Room& room : rooms) {
    if (parent_of(room.name) != room.name) continue;  // a room and its sub-rooms are one library
    const std::string opening = fmt::format("add_layer({} ", room.name);
    const auto start = cmake_text.find(opening);
    if (start == std::string::npos) {
      if (room.name != "programs") broken.push_back(fmt::format("{} has no add_layer", room.name));
      continue;
    }
    const auto begin = start + opening.size();
    std::istringstream words(cmake_text.substr(begin, cmake_text.find(')', begin) - begin));
    bool is_dependency = false;
    for (std::string word; words >> word;) {
      if (word == "DEPENDS" || word == "LIBRARIES") {
        is_dependency = word == "DEPENDS";
      } else if (is_dependency && !contains(room.lower_rooms, word)) {
        broken.push_back(fmt::format("{} links {}, which it may not include", room.name, word));
      }
    }
  }
  return broken;
}

}  // namespace leda::test
