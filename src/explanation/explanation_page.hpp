// An explanation as people read it: one HTML page that holds its pictures and asks for nothing from outside.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "explanation/explanation_json.hpp"
#include "explanation/explanation_pictures.hpp"

namespace leda::explanation {

// Of a text between tags or in a quoted attribute.
std::string html_escaped(std::string_view text);
// RFC 4648, with padding.
std::string base64(std::string_view bytes);

// Tables show the `display.legend_length` most frequent words and the 50 most frequent changes of each level.
std::string to_html(const Explanation& explanation, const language::Vocabulary& vocabulary,
                    const ExplanationSources& sources, const WordNumbers& numbers,
                    const std::vector<ExplanationPicture>& pictures, const ExplanationDisplay& display);

}  // namespace leda::explanation
