#include "storage/safetensors.hpp"

#include <ATen/ops/empty.h>
#include <c10/core/ScalarType.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <future>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <system_error>
#include <utility>

#include "base/error.hpp"

namespace leda::storage {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian, values are copied as they are");

// A header this long would describe millions of tensors; other readers refuse it too.
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
constexpr std::size_t kReadBytes = std::size_t{4} << 20;
constexpr std::uintptr_t kLargePageBytes = std::uintptr_t{2} << 20;
constexpr const char* kMetadataKey = "__metadata__";

struct TypeName {
  const char* name;
  c10::ScalarType type;
  std::uint64_t num_bytes;
};

constexpr std::array<TypeName, 9> kTypes{{{"F64", c10::ScalarType::Double, 8},
                                          {"F32", c10::ScalarType::Float, 4},
                                          {"F16", c10::ScalarType::Half, 2},
                                          {"BF16", c10::ScalarType::BFloat16, 2},
                                          {"I64", c10::ScalarType::Long, 8},
                                          {"I32", c10::ScalarType::Int, 4},
                                          {"I16", c10::ScalarType::Short, 2},
                                          {"U8", c10::ScalarType::Byte, 1},
                                          {"BOOL", c10::ScalarType::Bool, 1}}};

// --- writing

base::Error cannot_save(const std::filesystem::path& path, const std::string& name, const std::string& reason) {
  return {base::ExitCode::internal,
          {.what = fmt::format("cannot save tensor '{}' to {}", name, path.string()),
           .value = reason,
           .why = "no reader could make sense of the file",
           .remedy = "this is a mistake of the program: please report it"}};
}

const TypeName& type_of(const std::filesystem::path& path, const std::string& name, const at::Tensor& tensor) {
  for (const TypeName& type : kTypes) {
    if (tensor.scalar_type() == type.type) return type;
  }
  throw cannot_save(path, name, fmt::format("type {} has no name in the format", c10::toString(tensor.scalar_type())));
}

// The JSON header, padded with spaces so that the values begin at a multiple of 8 bytes.
std::string make_header(const std::filesystem::path& path, const TensorArchive& archive) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!archive.metadata.empty()) header[kMetadataKey] = archive.metadata;
  std::set<std::string> names{kMetadataKey};
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : archive.tensors) {
    if (!names.insert(name).second) throw cannot_save(path, name, "the name is taken");
    const TypeName& type = type_of(path, name, tensor);
    const std::uint64_t end = offset + static_cast<std::uint64_t>(tensor.numel()) * type.num_bytes;
    header[name] = {{"dtype", type.name}, {"shape", tensor.sizes().vec()}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

// --- reading

base::Error damaged(const std::filesystem::path& path, const std::string& field, const std::string& reason) {
  return {base::ExitCode::data,
          {.what = fmt::format("{} is not a valid safetensors file", path.string()),
           .value = field.empty() ? reason : fmt::format("{}: {}", field, reason),
           .why = "its tensors cannot be trusted",
           .remedy = "use another copy of the file, or write it again"}};
}

class FileReader {
 public:
  FileReader(const std::filesystem::path& path, Progress progress)
      : path_(path), progress_(std::move(progress)), descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    struct stat status {};
    if (descriptor_ < 0 || fstat(descriptor_, &status) != 0) fail(errno);
    num_bytes_ = static_cast<std::uint64_t>(status.st_size);
  }
  ~FileReader() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  std::uint64_t num_bytes() const { return num_bytes_; }

  // The next bytes of the file. Their checksum is taken meanwhile: `target` stays until checksum() was called.
  void read(std::span<std::byte> target) {
    while (!target.empty()) {
      const std::size_t wanted = std::min(target.size(), kReadBytes);
      const ssize_t count = pread(descriptor_, target.data(), wanted, static_cast<off_t>(position_));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail(errno);
      if (count == 0) throw damaged(path_, "", fmt::format("it ends at byte {} while being read", position_));
      const auto piece = target.first(static_cast<std::size_t>(count));
      sum_up(piece);
      if (progress_) progress_(piece.size());
      target = target.subspan(piece.size());
      position_ += piece.size();
    }
  }

  std::uint64_t checksum() {
    finish_sum();
    return checksum_.value();
  }

 private:
  void finish_sum() {
    if (summing_.valid()) summing_.get();
  }

  // Beside the reading of the next piece, where that is worth a thread.
  void sum_up(std::span<const std::byte> piece) {
    finish_sum();
    if (piece.size() < kPieceBytes) return checksum_.update(piece);
    summing_ = std::async(std::launch::async, [this, piece] { checksum_.update(piece); });
  }

  [[noreturn]] void fail(int error_number) {
    if (descriptor_ >= 0) close(std::exchange(descriptor_, -1));
    throw base::Error(base::ExitCode::data, {.what = fmt::format("cannot read {}", path_.string()),
                                             .value = std::generic_category().message(error_number),
                                             .why = "",
                                             .remedy = "check that the file exists and may be read"});
  }

  const std::filesystem::path& path_;
  Progress progress_;
  int descriptor_;
  std::uint64_t num_bytes_ = 0;
  std::uint64_t position_ = 0;
  RunningChecksum checksum_;
  std::future<void> summing_;  // last: it uses the others
};

struct Entry {
  std::string name;
  const TypeName* type = nullptr;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;  // within the values
  std::uint64_t end = 0;
};

struct Header {
  nlohmann::json values;
  std::vector<std::string> names;  // in file order, as a JSON object does not keep it
};

// JSON parsers keep one of several equal keys in silence; here each is an error.
Header parse_header(const std::filesystem::path& path, const std::string& text) {
  Header header;
  std::vector<std::set<std::string>> keys_by_depth;
  std::string repeated;
  const auto note_key = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& value) {
    using Event = nlohmann::json::parse_event_t;
    if (event == Event::object_start) keys_by_depth.emplace_back();
    if (event == Event::object_end) keys_by_depth.pop_back();
    if (event == Event::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (!keys_by_depth.back().insert(key).second) repeated = key;
      if (depth == 1) header.names.push_back(key);
    }
    return true;
  };
  try {
    header.values = nlohmann::json::parse(text, note_key);
  } catch (const nlohmann::json::exception& problem) {
    throw damaged(path, "header", problem.what());
  }
  if (!header.values.is_object()) throw damaged(path, "header", "it is not a JSON object");
  if (!repeated.empty()) throw damaged(path, "header", fmt::format("the name '{}' stands there twice", repeated));
  return header;
}

std::uint64_t read_count(const std::filesystem::path& path, const std::string& field, const nlohmann::json& value) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > INT64_MAX) {
    throw damaged(path, field, fmt::format("{} is not a count", value.dump()));
  }
  return value.get<std::uint64_t>();
}

const nlohmann::json& member(const std::filesystem::path& path, const std::string& name, const nlohmann::json& object,
                             const char* key, bool is_expected(const nlohmann::json&)) {
  if (!object.is_object() || !object.contains(key) || !is_expected(object.at(key))) {
    throw damaged(path, fmt::format("tensor '{}'", name), fmt::format("'{}' is missing or of a wrong kind", key));
  }
  return object.at(key);
}

Entry parse_entry(const std::filesystem::path& path, const std::string& name, const nlohmann::json& object) {
  const auto is_text = [](const nlohmann::json& value) { return value.is_string(); };
  const auto is_list = [](const nlohmann::json& value) { return value.is_array(); };
  const auto field = [&](const char* key) { return fmt::format("tensor '{}', {}", name, key); };
  Entry entry;
  entry.name = name;
  const auto& type_name = member(path, name, object, "dtype", is_text).get_ref<const std::string&>();
  for (const TypeName& type : kTypes) {
    if (type_name == type.name) entry.type = &type;
  }
  if (entry.type == nullptr) throw damaged(path, field("dtype"), fmt::format("'{}' is not supported", type_name));
  std::uint64_t num_bytes = entry.type->num_bytes;
  std::uint64_t extent = num_bytes;  // as if sides of 0 were 1: strides must not overflow either
  bool is_too_large = false;
  for (const nlohmann::json& side : member(path, name, object, "shape", is_list)) {
    const std::uint64_t length = read_count(path, field("shape"), side);
    entry.shape.push_back(static_cast<std::int64_t>(length));
    is_too_large |= __builtin_mul_overflow(extent, std::max<std::uint64_t>(length, 1), &extent) || extent > INT64_MAX;
    num_bytes *= length;
  }
  const nlohmann::json& offsets = member(path, name, object, "data_offsets", is_list);
  if (offsets.size() != 2) throw damaged(path, field("data_offsets"), "two numbers are expected");
  entry.begin = read_count(path, field("data_offsets"), offsets[0]);
  entry.end = read_count(path, field("data_offsets"), offsets[1]);
  if (is_too_large || entry.end < entry.begin || entry.end - entry.begin != num_bytes) {
    throw damaged(path, field("data_offsets"),
                  fmt::format("bytes {} to {} do not fit type {} and shape [{}]", entry.begin, entry.end,
                              entry.type->name, fmt::join(entry.shape, ", ")));
  }
  return entry;
}

// The values must fill the rest of the file: no gap, no overlap, nothing behind.
void check_layout(const std::filesystem::path& path, const std::vector<Entry>& entries, std::uint64_t value_bytes) {
  std::vector<const Entry*> by_offset;
  for (const Entry& entry : entries) by_offset.push_back(&entry);
  std::sort(by_offset.begin(), by_offset.end(), [](const Entry* left, const Entry* right) {
    return std::pair(left->begin, left->end) < std::pair(right->begin, right->end);
  });
  std::uint64_t expected = 0;
  for (const Entry* entry : by_offset) {
    if (entry->begin != expected) {
      throw damaged(path, fmt::format("tensor '{}', data_offsets", entry->name),
                    fmt::format("begins at byte {} of the values, expected {}", entry->begin, expected));
    }
    expected = entry->end;
  }
  if (expected != value_bytes) {
    throw damaged(path, "", fmt::format("it holds {} bytes of values, its header describes {}", value_bytes, expected));
  }
}

std::map<std::string, std::string> parse_metadata(const std::filesystem::path& path, const nlohmann::json& values) {
  std::map<std::string, std::string> metadata;
  if (!values.is_object()) throw damaged(path, kMetadataKey, "it is not a JSON object");
  for (const auto& [key, value] : values.items()) {
    if (!value.is_string()) throw damaged(path, kMetadataKey, fmt::format("the value of '{}' is not a text", key));
    metadata.emplace(key, value.get<std::string>());
  }
  return metadata;
}

std::string read_header_text(const std::filesystem::path& path, FileReader& file) {
  if (file.num_bytes() < 8)
    throw damaged(path, "", fmt::format("it has {} bytes, at least 8 are due", file.num_bytes()));
  std::uint64_t length = 0;
  file.read(std::as_writable_bytes(std::span(&length, 1)));
  if (length > std::min(file.num_bytes() - 8, kMaxHeaderBytes)) {
    throw damaged(path, "header length", fmt::format("{} in a file of {} bytes", length, file.num_bytes()));
  }
  std::string text(length, '\0');
  file.read(std::as_writable_bytes(std::span(text)));
  return text;
}

// Memory for all values of a file, in large pages where the system has them: the first touch of small ones takes longer
// than a fast disk.
at::Tensor make_block(std::uint64_t num_bytes) {
  at::Tensor block = at::empty({static_cast<std::int64_t>(num_bytes)}, at::TensorOptions().dtype(at::kByte));
  const auto begin = reinterpret_cast<std::uintptr_t>(block.data_ptr());
  const std::uintptr_t first = (begin + kLargePageBytes - 1) / kLargePageBytes * kLargePageBytes;
  const std::uintptr_t last = (begin + num_bytes) / kLargePageBytes * kLargePageBytes;
  if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
  return block;
}

// A view into the block; a copy where the place does not suit the type.
at::Tensor make_tensor(const std::filesystem::path& path, const at::Tensor& block, const Entry& entry) {
  const auto length = static_cast<std::int64_t>(entry.end - entry.begin);
  const at::Tensor bytes = block.narrow(0, static_cast<std::int64_t>(entry.begin), length);
  if (entry.type->type == c10::ScalarType::Bool && length > 0 && bytes.max().item<std::uint8_t>() > 1) {
    throw damaged(path, fmt::format("tensor '{}'", entry.name), "a BOOL value is neither 0 nor 1");
  }
  const bool is_aligned = entry.begin % entry.type->num_bytes == 0;
  return (is_aligned ? bytes : bytes.clone()).view(entry.type->type).view(entry.shape);
}

}  // namespace

WrittenFile save_safetensors(const std::filesystem::path& path, const TensorArchive& archive,
                             const Progress& progress) {
  const std::string header = make_header(path, archive);
  const std::uint64_t length = header.size();
  FileWriter writer(path, progress);
  writer.write(std::as_bytes(std::span(&length, 1)));
  writer.write(header);
  for (const auto& [name, tensor] : archive.tensors) {
    const at::Tensor values = tensor.detach().cpu().contiguous();
    writer.write(std::span(static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()));
  }
  return writer.close();
}

ReadArchive read_safetensors(const std::filesystem::path& path, const Progress& progress) {
  FileReader file(path, progress);
  const std::string text = read_header_text(path, file);
  const Header header = parse_header(path, text);
  ReadArchive found;
  std::vector<Entry> entries;
  for (const std::string& name : header.names) {
    if (name == kMetadataKey) {
      found.archive.metadata = parse_metadata(path, header.values.at(name));
    } else {
      entries.push_back(parse_entry(path, name, header.values.at(name)));
    }
  }
  const std::uint64_t value_bytes = file.num_bytes() - 8 - text.size();
  check_layout(path, entries, value_bytes);
  const at::Tensor block = make_block(value_bytes);
  file.read({static_cast<std::byte*>(block.data_ptr()), value_bytes});
  found.checksum = file.checksum();
  for (const Entry& entry : entries) {
    found.archive.tensors.emplace_back(entry.name, make_tensor(path, block, entry));
  }
  found.num_bytes = file.num_bytes();
  return found;
}

TensorArchive load_safetensors(const std::filesystem::path& path) { return read_safetensors(path).archive; }

}  // namespace leda::storage
