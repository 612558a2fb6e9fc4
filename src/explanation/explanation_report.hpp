// The files of an explanation, and its numbers as a table.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "explanation/explanation.hpp"
#include "explanation/explanation_json.hpp"
#include "explanation/explanation_pictures.hpp"

namespace leda::explanation {

// Agreement per level and image, and the most frequent words of each level; at most 100 columns where words are short.
std::string explanation_text(const Explanation& explanation, const language::Vocabulary& vocabulary);

// Collective: explanation.html, explanation.json and the pictures in `folder`, which is made if need be, written by
// rank 0. Throws Error(storage). False where should_stop, as of ExplainOptions, said so while pictures were drawn;
// nothing is written then.
bool write_explanation(const std::filesystem::path& folder, const ExplainedSlices& slices,
                       const data::ShardCatalogue& catalogue, const language::Vocabulary& vocabulary,
                       const ExplanationSources& sources, const ExplanationDisplay& display,
                       distributed::Communicator& communicator, const std::function<bool()>& should_stop = {});

}  // namespace leda::explanation
