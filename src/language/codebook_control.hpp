// Codebooks from which the language is taken and all else is left, for asking whether the language in a codebook helps.
// Pure functions; any thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace leda::language {

// none, shuffled, random.
const std::vector<std::string>& codebook_controls();

// codebook: V x C, CPU, float32 or float64. none: itself. shuffled: its rows dealt out anew among the words, so that
// the same embeddings mean other words. random: Gaussian directions, independent of each other, row by row as long as
// the codebook's. The same seed gives the same codebook everywhere. Throws Error(options) for another control.
at::Tensor control_codebook(const at::Tensor& codebook, const std::string& control, std::uint64_t seed);

// What a file says of its codebook: "none", or control and seed. Two different controls never have one record.
std::string control_record(const std::string& control, std::uint64_t seed);

}  // namespace leda::language
