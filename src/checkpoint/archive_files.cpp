#include "checkpoint/archive_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <charconv>
#include <numeric>
#include <string_view>

namespace leda::checkpoint {
namespace {

constexpr std::string_view kSuffix = ".safetensors";
constexpr std::string_view kOf = "-of-";
constexpr std::size_t kNumDigits = 5;

std::vector<ArchiveFile> split(const std::string& stem, const storage::TensorArchive& archive,
                               std::uint64_t max_file_bytes) {
  std::vector<ArchiveFile> parts(1);
  for (std::size_t i = 0; i < archive.tensors.size(); ++i) {
    const std::uint64_t bytes = archive.tensors[i].second.nbytes();
    const ArchiveFile& last = parts.back();
    if (last.num_tensors > 0 && last.value_bytes + bytes > max_file_bytes) parts.push_back({.first_tensor = i});
    ++parts.back().num_tensors;
    parts.back().value_bytes += bytes;
  }
  for (std::size_t i = 0; i < parts.size(); ++i) {
    parts[i].stem = stem;
    parts[i].name = parts.size() == 1 ? fmt::format("{}{}", stem, kSuffix)
                                      : fmt::format("{}-{:05}{}{:05}{}", stem, i + 1, kOf, parts.size(), kSuffix);
  }
  return parts;
}

// Exactly five digits.
std::optional<int> number_in(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_number = error == std::errc() && end == text.data() + text.size() && text.size() == kNumDigits;
  return is_number && number >= 1 ? std::optional(number) : std::nullopt;
}

}  // namespace

std::vector<ArchiveFile> plan_files(const CheckpointContent& content, std::uint64_t max_file_bytes) {
  std::vector<ArchiveFile> files;
  for (const auto& [stem, archive] : content.archives) {
    assert(parse_archive_file_name(stem + std::string(kSuffix), true)->num_parts == 1);
    for (ArchiveFile& file : split(stem, archive, max_file_bytes)) files.push_back(std::move(file));
  }
  return files;
}

std::vector<int> deal_files(const std::vector<ArchiveFile>& files, const std::vector<int>& writers) {
  std::vector<int> dealt(files.size(), 0);
  const bool is_split = std::adjacent_find(files.begin(), files.end(), [](const auto& one, const auto& next) {
                          return one.stem == next.stem;
                        }) != files.end();
  if (!is_split) return dealt;
  for (std::size_t i = 0; i < files.size(); ++i) dealt[i] = writers[i % writers.size()];
  return dealt;
}

std::vector<int> writing_order(const std::vector<int>& local_ranks) {
  std::vector<int> order(local_ranks.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int left, int right) {
    return local_ranks[static_cast<std::size_t>(left)] < local_ranks[static_cast<std::size_t>(right)];
  });
  return order;
}

storage::TensorArchive part_of(const CheckpointContent& content, const ArchiveFile& file) {
  const storage::TensorArchive& archive = content.archives.at(file.stem);
  const auto begin = archive.tensors.begin() + static_cast<std::ptrdiff_t>(file.first_tensor);
  return {.tensors = {begin, begin + static_cast<std::ptrdiff_t>(file.num_tensors)}, .metadata = archive.metadata};
}

std::optional<ArchiveFileName> parse_archive_file_name(const std::string& name, bool has_parts) {
  if (!name.ends_with(kSuffix)) return std::nullopt;
  const std::string_view stem = std::string_view(name).substr(0, name.size() - kSuffix.size());
  const ArchiveFileName whole{.stem = std::string(stem)};
  const std::size_t num_tail = 1 + 2 * kNumDigits + kOf.size();
  if (!has_parts || stem.size() <= num_tail) return whole;
  const std::string_view tail = stem.substr(stem.size() - num_tail);
  const std::optional<int> part = number_in(tail.substr(1, kNumDigits));
  const std::optional<int> num_parts = number_in(tail.substr(tail.size() - kNumDigits));
  if (tail.front() != '-' || tail.substr(1 + kNumDigits, kOf.size()) != kOf || !part || !num_parts) return whole;
  return ArchiveFileName{
      .stem = std::string(stem.substr(0, stem.size() - num_tail)), .part = *part, .num_parts = *num_parts};
}

}  // namespace leda::checkpoint
