#include "checkpoint/checksummed_json.hpp"

#include <cassert>
#include <nlohmann/json.hpp>
#include <span>

#include "storage/checksum.hpp"

namespace leda::checkpoint {
namespace {

constexpr std::string_view kBefore = "\"checksum\": \"";
constexpr std::string_view kZeros = "0000000000000000";
constexpr std::string_view kAfter = "\"\n}\n";

std::string digits_for(std::string text, std::size_t position) {
  text.replace(position, kZeros.size(), kZeros);
  return storage::checksum_text(storage::checksum(std::as_bytes(std::span(text))));
}

}  // namespace

std::string add_checksum(std::string_view object_text) {
  auto object = nlohmann::ordered_json::parse(object_text);
  assert(object.is_object() && !object.contains("checksum"));
  object["checksum"] = kZeros;
  std::string text = object.dump(2) + "\n";
  const std::size_t position = text.size() - kAfter.size() - kZeros.size();
  return text.replace(position, kZeros.size(), digits_for(text, position));
}

bool has_valid_checksum(std::string_view text) {
  const std::size_t num_tail = kBefore.size() + kZeros.size() + kAfter.size();
  if (text.size() < num_tail || !text.ends_with(kAfter)) return false;
  const std::size_t position = text.size() - kAfter.size() - kZeros.size();
  if (text.substr(position - kBefore.size(), kBefore.size()) != kBefore) return false;
  return text.substr(position, kZeros.size()) == digits_for(std::string(text), position);
}

}  // namespace leda::checkpoint
