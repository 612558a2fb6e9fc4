// Codebooks from which the language is taken and all else is left, for asking whether the language in a codebook helps.
// Pure functions; any thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace leda::language {

enum class CodebookAblation { none, shuffled, random };
constexpr std::array<std::string_view, 3> names_of(CodebookAblation) { return {"none", "shuffled", "random"}; }

// codebook: V x C, CPU, float32 or float64. none: itself. shuffled: its rows dealt out anew among the words, so that
// the same embeddings mean other words. random: Gaussian directions, independent of each other, row by row as long as
// the codebook's. The same seed gives the same codebook everywhere.
at::Tensor ablate_codebook(const at::Tensor& codebook, CodebookAblation ablation, std::uint64_t seed);

// What a file says of its codebook: "none", or ablation and seed. Two different ablations never have one record.
std::string ablation_record(CodebookAblation ablation, std::uint64_t seed);

}  // namespace leda::language
