// JSON objects that carry their own checksum, as their last member: XXH3-64 of the whole text with the sixteen digits
// of the checksum written as zeros. Any changed, missing or added byte is seen.
#pragma once

#include <string>
#include <string_view>

namespace leda::checkpoint {

// `object_text`: a JSON object without a member "checksum". Two spaces of indentation, a line break at the end.
std::string add_checksum(std::string_view object_text);
bool has_valid_checksum(std::string_view text);

}  // namespace leda::checkpoint
