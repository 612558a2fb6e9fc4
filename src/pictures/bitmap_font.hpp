// Letters of 5 x 7 pixels, drawn for this project, so that a picture needs no font file. Printable ASCII; other
// characters become an open box.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string_view>

namespace leda::pictures {

inline constexpr std::int64_t kGlyphWidth = 5;
inline constexpr std::int64_t kGlyphHeight = 7;
// From one letter to the next, before scaling.
inline constexpr std::int64_t kGlyphAdvance = 6;

using Colour = std::array<std::uint8_t, 3>;

// Width of a text in pixels.
std::int64_t text_width(std::string_view text, std::int64_t scale);

// Draws onto H x W x 3 uint8, in place, with the upper left corner at (row, column); what falls outside is cut off.
void draw_text(at::Tensor& picture, std::int64_t row, std::int64_t column, std::string_view text, std::int64_t scale,
               const Colour& colour);

}  // namespace leda::pictures
