#include "explanation/word_numbers.hpp"

namespace leda::explanation {

WordNumbers::WordNumbers(const Explanation& explanation, std::int64_t per_level) {
  for (std::size_t rank = 0; rank < static_cast<std::size_t>(per_level); ++rank) {
    for (const LevelExplanation& level : explanation.levels) {
      if (rank >= level.words.size() || places_.size() >= pictures::kNumWordColours) continue;
      places_.emplace(level.words[rank].token, places_.size());
    }
  }
}

std::string WordNumbers::number(std::int64_t token) const {
  const auto place = places_.find(token);
  return place == places_.end() ? "" : std::to_string(place->second + 1);
}

pictures::Colour WordNumbers::colour(std::int64_t token) const {
  const auto place = places_.find(token);
  return pictures::word_colour(place == places_.end() ? pictures::kNumWordColours : place->second);
}

}  // namespace leda::explanation
