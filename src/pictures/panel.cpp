#include "pictures/panel.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/stack.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "pictures/bitmap_font.hpp"
#include "pictures/png_file.hpp"

namespace leda::pictures {
namespace {

constexpr std::int64_t kSmallestWidth = 256;  // of an image on the picture
constexpr std::int64_t kMargin = 12;
constexpr std::int64_t kBarHeight = 8;
constexpr std::int64_t kLineGap = 6;
constexpr std::int64_t kTextScale = 2;
constexpr std::int64_t kLineHeight = kGlyphHeight * kTextScale + kLineGap;
constexpr std::uint8_t kBackground = 24;
constexpr Colour kInk{235, 235, 235};
constexpr Colour kFaintInk{165, 165, 165};
// Ends of the diverging palette, the middle being black.
constexpr Colour kBlue{70, 150, 255};
constexpr Colour kOrange{255, 140, 30};

// [0, 1] to H x W x 3, uint8.
at::Tensor coloured(const at::Tensor& share, Palette palette) {
  if (palette == Palette::grey) return share.mul(255.0).round().to(at::kByte).unsqueeze(-1).expand({-1, -1, 3});
  const at::Tensor below = (1.0 - 2.0 * share).clamp_min(0.0);
  const at::Tensor above = (2.0 * share - 1.0).clamp_min(0.0);
  std::vector<at::Tensor> channels;
  for (std::size_t k = 0; k < 3; ++k) {
    channels.push_back((below * static_cast<double>(kBlue[k]) + above * static_cast<double>(kOrange[k])).round());
  }
  return at::stack(channels, -1).to(at::kByte);
}

at::Tensor windowed(const PanelImage& image) {
  const at::Tensor share = (image.image_hu.to(at::kDouble) - image.window.low_hu) / image.window.range_hu();
  return coloured(share.clamp(0.0, 1.0), image.palette);
}

at::Tensor enlarged(const at::Tensor& picture, std::int64_t factor) {
  return picture.repeat_interleave(factor, 0).repeat_interleave(factor, 1);
}

void paste(at::Tensor& picture, const at::Tensor& part, std::int64_t row, std::int64_t column) {
  picture.narrow(0, row, part.size(0)).narrow(1, column, part.size(1)).copy_(part);
}

// Cut to what fits, so that neighbours stay readable.
void draw_line(at::Tensor& picture, std::int64_t row, std::int64_t column, std::string text, std::int64_t width,
               const Colour& colour) {
  const std::int64_t num_letters = (width / kTextScale + 1) / kGlyphAdvance;
  if (static_cast<std::int64_t>(text.size()) > num_letters) text.resize(static_cast<std::size_t>(num_letters));
  draw_text(picture, row, column, text, kTextScale, colour);
}

// Where things lie; all panels are of one size.
struct Layout {
  std::int64_t factor;
  std::int64_t image_rows;
  std::int64_t image_columns;

  std::int64_t panel_height() const { return 2 * kLineHeight + image_rows + kLineGap + kBarHeight + kLineHeight; }
  std::int64_t panel_top(std::int64_t row) const {
    return 2 * kMargin + kLineHeight + row * (panel_height() + kMargin);
  }
  std::int64_t panel_left(std::int64_t column) const { return kMargin + column * (image_columns + kMargin); }
};

Layout layout_of(const std::vector<std::vector<PanelImage>>& rows) {
  for (const auto& row : rows) {
    for (const PanelImage& image : row) {
      if (!image.image_hu.defined()) continue;
      const std::int64_t columns = image.image_hu.size(1);
      const std::int64_t factor = std::max<std::int64_t>(1, (kSmallestWidth + columns - 1) / columns);
      return {.factor = factor, .image_rows = factor * image.image_hu.size(0), .image_columns = factor * columns};
    }
  }
  return {.factor = 1, .image_rows = 1, .image_columns = 1};
}

void draw_scale(at::Tensor& picture, const PanelImage& image, std::int64_t top, std::int64_t left, std::int64_t width) {
  const at::Tensor ramp = at::linspace(0.0, 1.0, width, at::kDouble).unsqueeze(0).expand({kBarHeight, width});
  paste(picture, coloured(ramp, image.palette), top, left);
  const std::string low = fmt::format("{:g}", image.window.low_hu);
  const std::string high =
      fmt::format("{}{:g} HU", image.palette == Palette::diverging ? "+" : "", image.window.high_hu);
  const std::int64_t text_top = top + kBarHeight + kLineGap;
  draw_text(picture, text_top, left, low, kTextScale, kFaintInk);
  draw_text(picture, text_top, left + width - text_width(high, kTextScale), high, kTextScale, kFaintInk);
}

void draw_panel(at::Tensor& picture, const PanelImage& image, const Layout& layout, std::int64_t top,
                std::int64_t left) {
  draw_line(picture, top, left, image.label, layout.image_columns, kInk);
  draw_line(picture, top + kLineHeight, left, image.detail, layout.image_columns, kFaintInk);
  const std::int64_t image_top = top + 2 * kLineHeight;
  paste(picture, enlarged(windowed(image), layout.factor), image_top, left);
  draw_scale(picture, image, image_top + layout.image_rows + kLineGap, left, layout.image_columns);
}

}  // namespace

PanelImage difference_panel(std::string label, const at::Tensor& image_hu, const at::Tensor& reference_hu,
                            double half_width_hu) {
  return {.label = std::move(label),
          .detail = "",
          .image_hu = image_hu.to(at::kDouble) - reference_hu.to(at::kDouble),
          .window = {-half_width_hu, half_width_hu},
          .palette = Palette::diverging};
}

at::Tensor draw_panels(const std::vector<std::vector<PanelImage>>& rows, const std::string& title) {
  std::int64_t num_columns = 1;
  for (const auto& row : rows) num_columns = std::max(num_columns, static_cast<std::int64_t>(row.size()));
  const Layout layout = layout_of(rows);
  const std::int64_t width = layout.panel_left(num_columns);
  const std::int64_t height = layout.panel_top(static_cast<std::int64_t>(rows.size()));
  at::Tensor picture = at::full({height, width, 3}, kBackground, at::kByte);
  draw_line(picture, kMargin, kMargin, title, width - 2 * kMargin, kInk);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t c = 0; c < rows[r].size(); ++c) {
      if (!rows[r][c].image_hu.defined()) continue;
      draw_panel(picture, rows[r][c], layout, layout.panel_top(static_cast<std::int64_t>(r)),
                 layout.panel_left(static_cast<std::int64_t>(c)));
    }
  }
  return picture;
}

void write_panels_png(const std::filesystem::path& path, const std::vector<std::vector<PanelImage>>& rows,
                      const std::string& title) {
  write_png(path, draw_panels(rows, title));
}

}  // namespace leda::pictures
