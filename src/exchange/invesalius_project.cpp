#include "exchange/invesalius_project.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/flip.h>
#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <memory>
#include <pugixml.hpp>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace leda::exchange {
namespace {

[[noreturn]] void refuse_project(const std::filesystem::path& path, const std::string& field,
                                 const std::string& failure, const std::string& value = "") {
  throw base::Error(base::ExitCode::data,
                    {.what = fmt::format("InVesalius project {}, '{}': {}", path.string(), field, failure),
                     .value = value,
                     .why = "",
                     .remedy = "check that the file was copied completely and is an InVesalius 3 project"});
}

// The two members that matter; their folder's name differs from project to project.
struct Members {
  std::string plist;
  std::string matrix;
};

using Archive = std::unique_ptr<archive, decltype(&archive_read_free)>;

std::string read_member(const std::filesystem::path& path, archive* source, const std::string& name) {
  std::string bytes;
  std::vector<char> piece(1 << 16);
  for (;;) {
    const la_ssize_t count = archive_read_data(source, piece.data(), piece.size());
    if (count < 0) refuse_project(path, name, "cannot be unpacked", archive_error_string(source));
    if (count == 0) return bytes;
    bytes.append(piece.data(), static_cast<std::size_t>(count));
  }
}

Members read_members(const std::filesystem::path& path) {
  const Archive source(archive_read_new(), archive_read_free);
  archive_read_support_filter_gzip(source.get());
  archive_read_support_format_tar(source.get());
  if (archive_read_open_filename(source.get(), path.c_str(), 1 << 16) != ARCHIVE_OK) {
    refuse_project(path, "archive", "cannot be opened as a compressed tar archive", archive_error_string(source.get()));
  }
  Members members;
  for (archive_entry* entry = nullptr;;) {
    const int status = archive_read_next_header(source.get(), &entry);
    if (status == ARCHIVE_EOF) break;
    if (status < ARCHIVE_WARN) refuse_project(path, "archive", "is damaged", archive_error_string(source.get()));
    const std::string name = std::filesystem::path(archive_entry_pathname(entry)).filename().string();
    if (name == "main.plist") members.plist = read_member(path, source.get(), name);
    if (name == "matrix.dat") members.matrix = read_member(path, source.get(), name);
  }
  if (members.plist.empty()) refuse_project(path, "main.plist", "is missing from the archive");
  if (members.matrix.empty()) refuse_project(path, "matrix.dat", "is missing from the archive");
  return members;
}

// In a property list a dictionary is a row of <key> elements, each followed by its value.
pugi::xml_node value_of(const std::filesystem::path& path, pugi::xml_node dictionary, const std::string& key) {
  for (const pugi::xml_node node : dictionary.children("key")) {
    if (key == node.child_value()) return node.next_sibling();
  }
  refuse_project(path, key, "is missing from main.plist");
}

std::vector<double> numbers_of(const std::filesystem::path& path, pugi::xml_node list, const std::string& key) {
  std::vector<double> numbers;
  for (const pugi::xml_node node : list.children()) {
    const std::string_view text = node.child_value();
    double number = 0.0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (failure != std::errc() || end != text.data() + text.size() || !(number > 0.0)) {
      refuse_project(path, key, "is not a list of positive numbers", std::string(text));
    }
    numbers.push_back(number);
  }
  if (numbers.size() != 3) refuse_project(path, key, "must have three entries", fmt::to_string(numbers.size()));
  return numbers;
}

}  // namespace

Volume read_invesalius_project(const std::filesystem::path& path) {
  const Members members = read_members(path);
  pugi::xml_document document;
  if (const auto result = document.load_buffer(members.plist.data(), members.plist.size()); !result) {
    refuse_project(path, "main.plist", "is no XML", result.description());
  }
  const pugi::xml_node project = document.child("plist").child("dict");
  const pugi::xml_node matrix = value_of(path, project, "matrix");
  const std::vector<double> spacing = numbers_of(path, value_of(path, project, "spacing"), "spacing");  // x, y, z
  const std::vector<double> shape = numbers_of(path, value_of(path, matrix, "shape"), "shape");
  if (const std::string type = value_of(path, matrix, "dtype").child_value(); type != "int16") {
    refuse_project(path, "dtype", "only int16 is read", type);
  }
  const double expected_bytes = shape[0] * shape[1] * shape[2] * sizeof(std::int16_t);
  if (static_cast<double>(members.matrix.size()) != expected_bytes) {
    refuse_project(path, "matrix.dat", "has another size than its shape",
                   fmt::format("{} bytes for [{}]", members.matrix.size(), fmt::join(shape, ", ")));
  }
  const at::Tensor stored = at::empty(
      {static_cast<std::int64_t>(shape[0]), static_cast<std::int64_t>(shape[1]), static_cast<std::int64_t>(shape[2])},
      at::TensorOptions().dtype(at::kShort));
  std::memcpy(stored.mutable_data_ptr(), members.matrix.data(), members.matrix.size());
  return {at::flip(stored, {1}).contiguous(), {spacing[1], spacing[0], spacing[2]}};
}

}  // namespace leda::exchange
