#include "pictures/word_map.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <array>

#include "pictures/word_regions.hpp"

namespace leda::pictures {
namespace {

constexpr std::int64_t kSmallestWidth = 640;  // of an image on the picture
constexpr std::int64_t kMargin = 16;
constexpr std::int64_t kTextScale = 2;
constexpr std::int64_t kLineHeight = kGlyphHeight * kTextScale + 8;
constexpr std::int64_t kSwatch = 14;
constexpr std::int64_t kGap = 8;
constexpr double kTint = 0.35;  // share of the word's colour; the rest is the CT
constexpr std::uint8_t kBackground = 24;
constexpr Colour kInk{235, 235, 235};
constexpr Colour kFaintInk{165, 165, 165};
constexpr Colour kShadow{0, 0, 0};
constexpr Colour kOtherWords{150, 150, 150};

constexpr std::array<Colour, kNumWordColours> kWordColours{
    {{225, 45, 60},  {0, 255, 0},     {60, 15, 255},   {45, 225, 255},  {255, 210, 30}, {240, 150, 255},
     {0, 105, 15},   {30, 90, 150},   {0, 255, 180},   {195, 150, 105}, {255, 15, 255}, {0, 105, 255},
     {255, 0, 150},  {135, 60, 90},   {150, 210, 60},  {240, 120, 0},   {150, 0, 150},  {195, 240, 180},
     {45, 135, 120}, {180, 195, 255}, {255, 165, 195}, {135, 135, 15},  {150, 60, 0},   {180, 90, 255}}};

std::string cut(const std::string& text, std::size_t num_letters) {
  return text.size() <= num_letters ? text : text.substr(0, num_letters);
}

struct Layout {
  std::int64_t factor;
  std::int64_t image_rows;
  std::int64_t image_columns;
  std::int64_t num_panel_rows;
  std::int64_t num_panel_columns;
  std::int64_t legend_row;  // of the panels, where the legend begins
  std::int64_t legend_column;
  std::int64_t legend_width;
  std::int64_t legend_height;

  std::int64_t top(std::int64_t row) const {
    return kMargin + 2 * kLineHeight + row * (2 * kLineHeight + image_rows + kMargin);
  }
  std::int64_t left(std::int64_t column) const { return kMargin + column * (image_columns + kMargin); }
  std::int64_t width() const {
    return std::max(left(num_panel_columns), left(legend_column) + legend_width + (legend_width > 0 ? kMargin : 0));
  }
  std::int64_t height() const { return std::max(top(num_panel_rows), top(legend_row) + legend_height + kMargin); }
};

Layout layout_of(const WordMapPicture& picture) {
  Layout layout{};
  layout.num_panel_rows = static_cast<std::int64_t>(picture.rows.size());
  for (const auto& row : picture.rows) {
    layout.num_panel_columns = std::max(layout.num_panel_columns, static_cast<std::int64_t>(row.size()));
  }
  const at::Tensor& image = picture.rows.at(0).at(0).image_hu;
  layout.factor = std::max<std::int64_t>(1, (kSmallestWidth + image.size(1) - 1) / image.size(1));
  layout.image_rows = layout.factor * image.size(0);
  layout.image_columns = layout.factor * image.size(1);
  // In the room that a short last row leaves, so that a page need not shrink the picture more than the panels ask for.
  const bool has_room = static_cast<std::int64_t>(picture.rows.back().size()) < layout.num_panel_columns;
  layout.legend_row = has_room ? layout.num_panel_rows - 1 : 0;
  layout.legend_column = has_room ? layout.num_panel_columns - 1 : layout.num_panel_columns;
  if (!picture.legend.heads.empty()) {
    layout.legend_width = kSwatch;
    for (const std::size_t letters : picture.legend.letters) {
      layout.legend_width += kGap + static_cast<std::int64_t>(letters) * kGlyphAdvance * kTextScale;
    }
    layout.legend_height = kLineHeight * static_cast<std::int64_t>(picture.legend.rows.size() + 1);
  }
  return layout;
}

// H x W in HU to an enlarged H x W x 3, uint8.
at::Tensor grey_picture(const at::Tensor& image_hu, const ct::Window& window, std::int64_t factor) {
  const at::Tensor grey = ct::to_network_range(image_hu.to(at::kDouble), window).mul(255.0).round().to(at::kByte);
  const at::Tensor large = grey.repeat_interleave(factor, 0).repeat_interleave(factor, 1);
  return large.unsqueeze(-1).expand({-1, -1, 3}).contiguous();
}

// Cells on the enlarged picture, cut off at its border.
struct CellPlaces {
  std::int64_t side;
  at::TensorAccessor<std::int64_t, 2> words;

  std::int64_t word(std::int64_t row, std::int64_t column) const {
    const bool is_inside = row >= 0 && column >= 0 && row < words.size(0) && column < words.size(1);
    return is_inside ? words[row][column] : -1;
  }
};

// Whether a pixel lies within `width` of an edge of its cell beyond which another word begins.
bool is_outline(const CellPlaces& cells, std::int64_t y, std::int64_t x, std::int64_t width) {
  const std::int64_t row = y / cells.side, column = x / cells.side;
  const std::int64_t word = cells.word(row, column);
  const std::int64_t down = y % cells.side, right = x % cells.side;
  return (down < width && cells.word(row - 1, column) != word) ||
         (cells.side - 1 - down < width && cells.word(row + 1, column) != word) ||
         (right < width && cells.word(row, column - 1) != word) ||
         (cells.side - 1 - right < width && cells.word(row, column + 1) != word);
}

void tint(at::Tensor& image, const CellPlaces& cells, const std::vector<MapWord>& words) {
  auto pixels = image.accessor<std::uint8_t, 3>();
  const std::int64_t outline = cells.side >= 40 ? 2 : 1;
  for (std::int64_t y = 0; y < image.size(0); ++y) {
    for (std::int64_t x = 0; x < image.size(1); ++x) {
      const std::int64_t word = cells.word(y / cells.side, x / cells.side);
      if (word < 0) continue;
      const Colour& colour = words.at(static_cast<std::size_t>(word)).colour;
      const double share = is_outline(cells, y, x, outline) ? 1.0 : kTint;
      for (std::int64_t k = 0; k < 3; ++k) {
        const double mixed = share * colour[static_cast<std::size_t>(k)] + (1.0 - share) * pixels[y][x][k];
        pixels[y][x][k] = static_cast<std::uint8_t>(mixed + 0.5);
      }
    }
  }
}

// Light letters with a dark rim, readable on any tint.
void draw_rimmed(at::Tensor& image, std::int64_t row, std::int64_t column, const std::string& text,
                 std::int64_t scale) {
  for (const std::int64_t down : {-1, 0, 1}) {
    for (const std::int64_t right : {-1, 0, 1}) draw_text(image, row + down, column + right, text, scale, kShadow);
  }
  draw_text(image, row, column, text, scale, {255, 255, 255});
}

// The largest of text and number, at scale 2 or 1, that fits into the region's longest row of cells.
void caption(at::Tensor& image, const WordRegion& region, std::int64_t side, const MapWord& word) {
  const std::int64_t left = region.first_column * side;
  const std::int64_t room = std::min(region.num_columns * side, image.size(1) - left) - 6;
  const std::int64_t height = std::min(side, image.size(0) - region.row * side);
  for (const std::string& text : {word.text, word.short_text}) {
    for (const std::int64_t scale : {2, 1}) {
      const std::int64_t width = text_width(text, scale);
      if (text.empty() || width > room || scale * kGlyphHeight + 4 > height) continue;
      draw_rimmed(image, region.row * side + (height - scale * kGlyphHeight) / 2, left + 3 + (room - width) / 2, text,
                  scale);
      return;
    }
  }
}

void draw_panel(at::Tensor& canvas, const WordMapPanel& panel, const ct::Window& window, const Layout& layout,
                std::int64_t top, std::int64_t left) {
  const auto letters = static_cast<std::size_t>(layout.image_columns / (kGlyphAdvance * kTextScale));
  draw_text(canvas, top, left, cut(panel.label, letters), kTextScale, kInk);
  draw_text(canvas, top + kLineHeight, left, cut(panel.detail, letters), kTextScale, kFaintInk);
  at::Tensor image = grey_picture(panel.image_hu, window, layout.factor);
  const at::Tensor cells = panel.cells.contiguous();
  const std::int64_t side = layout.factor * panel.cell_pixels;
  tint(image, {side, cells.accessor<std::int64_t, 2>()}, panel.words);
  for (const WordRegion& region : word_regions(cells)) {
    caption(image, region, side, panel.words.at(static_cast<std::size_t>(region.word)));
  }
  canvas.narrow(0, top + 2 * kLineHeight, image.size(0)).narrow(1, left, image.size(1)).copy_(image);
}

void draw_legend_line(at::Tensor& canvas, const Legend& legend, const std::vector<std::string>& texts, std::int64_t top,
                      std::int64_t left, const Colour& colour) {
  std::int64_t column = left + kSwatch + kGap;
  for (std::size_t k = 0; k < texts.size(); ++k) {
    draw_text(canvas, top, column, cut(texts[k], legend.letters.at(k)), kTextScale, colour);
    column += kGap + static_cast<std::int64_t>(legend.letters.at(k)) * kGlyphAdvance * kTextScale;
  }
}

void draw_legend(at::Tensor& canvas, const Legend& legend, std::int64_t top, std::int64_t left) {
  draw_legend_line(canvas, legend, legend.heads, top, left, kFaintInk);
  for (const LegendRow& row : legend.rows) {
    top += kLineHeight;
    at::Tensor swatch = canvas.narrow(0, top, kSwatch).narrow(1, left, kSwatch);
    for (std::int64_t k = 0; k < 3; ++k) swatch.select(2, k).fill_(row.colour[static_cast<std::size_t>(k)]);
    draw_legend_line(canvas, legend, row.texts, top, left, kInk);
  }
}

}  // namespace

Colour word_colour(std::size_t index) { return index < kNumWordColours ? kWordColours.at(index) : kOtherWords; }

at::Tensor draw_word_maps(const WordMapPicture& picture) {
  const Layout layout = layout_of(picture);
  at::Tensor canvas = at::full({layout.height(), layout.width(), 3}, kBackground, at::kByte);
  const auto letters = static_cast<std::size_t>((layout.width() - 2 * kMargin) / (kGlyphAdvance * kTextScale));
  draw_text(canvas, kMargin, kMargin, cut(picture.title, letters), kTextScale, kInk);
  draw_text(canvas, kMargin + kLineHeight, kMargin, cut(picture.detail, letters), kTextScale, kFaintInk);
  for (std::size_t r = 0; r < picture.rows.size(); ++r) {
    for (std::size_t c = 0; c < picture.rows[r].size(); ++c) {
      draw_panel(canvas, picture.rows[r][c], picture.window, layout, layout.top(static_cast<std::int64_t>(r)),
                 layout.left(static_cast<std::int64_t>(c)));
    }
  }
  if (!picture.legend.heads.empty()) {
    draw_legend(canvas, picture.legend, layout.top(layout.legend_row), layout.left(layout.legend_column));
  }
  return canvas;
}

}  // namespace leda::pictures
