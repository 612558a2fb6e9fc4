// The number and colour of each frequent word, the same in every picture, legend and table of an explanation.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "explanation/explanation_result.hpp"
#include "pictures/word_map.hpp"

namespace leda::explanation {

class WordNumbers {
 public:
  // The most frequent words of all levels in turn, `per_level` of each at most, pictures::kNumWordColours in all.
  WordNumbers(const Explanation& explanation, std::int64_t per_level);

  // "1" for the first; empty for words without a number.
  std::string number(std::int64_t token) const;
  // Grey for words without a number.
  pictures::Colour colour(std::int64_t token) const;
  std::size_t size() const { return places_.size(); }

 private:
  std::map<std::int64_t, std::size_t> places_;
};

}  // namespace leda::explanation
