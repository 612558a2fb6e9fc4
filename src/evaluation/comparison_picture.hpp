// One test slice as every method of a result table left it: the picture beside the table.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "data/shard_catalogue.hpp"
#include "evaluation/evaluation.hpp"

namespace leda::evaluation {

// Of up to 16 evenly spaced slices the one with most body.
std::int64_t choose_picture_slice(const data::ShardCatalogue& test);

struct PictureOptions {
  ct::Window window{};  // the methods'
  ct::Window display{-160.0, 240.0};
};

// Above: low dose | each method (its first seed) | normal dose; beneath: the differences to the normal dose, and the
// noise-free image where there is one. Not collective: on one rank only. Throws Error(storage).
void write_comparison_picture(const std::filesystem::path& path, const data::ShardCatalogue& test,
                              const std::vector<Method>& methods, const PictureOptions& options);

}  // namespace leda::evaluation
