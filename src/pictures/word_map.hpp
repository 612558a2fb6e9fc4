// Words drawn over CT images: the cells of a token map tinted by word and captioned, panels side by side with one
// legend. Knows texts and colours, no vocabulary. Pure functions.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "ct/hounsfield.hpp"
#include "pictures/bitmap_font.hpp"

namespace leda::pictures {

// Colours that a reader tells apart: chosen one by one, each as far as possible from those before in CIELAB.
inline constexpr std::size_t kNumWordColours = 24;
// The colour of legend entry `index`; grey from kNumWordColours on, for words outside the legend.
Colour word_colour(std::size_t index);

struct MapWord {
  std::string text{};        // ASCII is drawn; other bytes become boxes
  std::string short_text{};  // where `text` does not fit: its number in the legend; may be empty
  Colour colour{};
};

struct WordMapPanel {
  std::string label{};
  std::string detail{};
  at::Tensor image_hu{};          // H x W
  at::Tensor cells{};             // rows x columns, int64: index of a MapWord, or -1 for a cell that stays as it is
  std::int64_t cell_pixels = 16;  // side of a cell in pixels of the image; cells start at the upper left corner
  std::vector<MapWord> words{};
};

struct LegendRow {
  Colour colour{};
  std::vector<std::string> texts{};  // one per column
};
struct Legend {
  std::vector<std::string> heads{};
  std::vector<std::size_t> letters{};  // per column; longer texts are cut off
  std::vector<LegendRow> rows{};
};

struct WordMapPicture {
  std::string title{};
  std::string detail{};
  ct::Window window{};
  std::vector<std::vector<WordMapPanel>> rows{};  // all images of one size
  Legend legend{};  // under the last column where the last row is shorter than others, else to the right of the panels
};

// H x W x 3 uint8. Images are enlarged by whole numbers until they are at least 640 pixels wide. Cells of equal word
// that touch are outlined as one region and captioned once, in its longest row of cells.
at::Tensor draw_word_maps(const WordMapPicture& picture);

}  // namespace leda::pictures
