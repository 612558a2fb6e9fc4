// Who may include whom: the table of docs/architecture.md, read from that file, and what breaks it in given sources.
#pragma once

#include <string>
#include <vector>

namespace leda::test {

// One row of the table: a folder of src/ and what its files may include.
struct Room {
  std::string name;                          // "ct", or "data/shards" of a sub-room
  std::vector<std::string> lower_rooms;      // other rooms, all of them in rows above
  std::vector<std::string> library_headers;  // that only this room includes; "boost/x" covers all below
  bool has_sub_rooms = false;                // then every file lies in one of them
};

struct SourceFile {
  std::string path;  // from the repository's root: "src/data/shards/shard_reader.hpp"
  std::string text;
};

// The rows of the table whose first column reads "folder". Throws std::runtime_error where there is no such table or a
// row names a room that no row above has: such a table would not be an order. The row of a sub-room, "data/shards", has
// its own headers; it may include what its room may, and the sub-rooms of its room in rows above.
std::vector<Room> read_room_table(const std::string& markdown);

// One line per broken rule: "src/ct/phantom.cpp:12: ...". `files` are sources below src/ and tests/; an included
// project header must be among them.
std::vector<std::string> broken_include_rules(const std::vector<Room>& rooms, const std::vector<SourceFile>& files);

// The same for `add_layer(NAME DEPENDS ...)` in the text of src/CMakeLists.txt: a room links only what it may include.
std::vector<std::string> broken_link_rules(const std::vector<Room>& rooms, const std::string& cmake_text);

}  // namespace leda::test
