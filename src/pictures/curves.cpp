#include "pictures/curves.hpp"

#include <ATen/ops/full.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>

#include "pictures/bitmap_font.hpp"
#include "pictures/png_file.hpp"

namespace leda::pictures {
namespace {

constexpr std::int64_t kWidth = 720;
constexpr std::int64_t kPlotHeight = 200;
constexpr std::int64_t kMargin = 14;
constexpr std::int64_t kTextScale = 2;
constexpr std::int64_t kLineHeight = kGlyphHeight * kTextScale + 8;
constexpr std::int64_t kAxisLeft = 110;  // room for the numbers of the y axis
constexpr std::uint8_t kBackground = 24;
constexpr Colour kInk{235, 235, 235};
constexpr Colour kFaintInk{120, 120, 120};
// Told apart by people who do not see red and green as others do.
constexpr std::array<Colour, 6> kCurveColours{
    {{255, 176, 0}, {86, 180, 233}, {0, 190, 140}, {230, 120, 180}, {240, 228, 66}, {200, 90, 30}}};

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void take(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  // Where `value` lies, 0 to 1; a range of one value has it at its start.
  double share(double value) const { return high > low ? (value - low) / (high - low) : 0.0; }
};

bool is_drawable(const CurvePoint& point) { return std::isfinite(point.x) && std::isfinite(point.y); }

template <typename Coordinate>
void take_all(Range& range, const Chart& chart, const Coordinate& coordinate) {
  for (const Curve& curve : chart.curves) {
    for (const CurvePoint& point : curve.points) {
      if (is_drawable(point)) range.take(coordinate(point));
    }
  }
}

// A picture that lines are drawn on; what falls outside is cut off.
class Canvas {
 public:
  explicit Canvas(std::int64_t height) : pixels_(at::full({height, kWidth, 3}, kBackground, at::kByte)) {}

  at::Tensor& pixels() { return pixels_; }
  void dot(std::int64_t row, std::int64_t column, const Colour& colour) {
    if (row < 0 || row >= pixels_.size(0) || column < 0 || column >= kWidth) return;
    std::uint8_t* pixel = pixels_.mutable_data_ptr<std::uint8_t>() + 3 * (row * kWidth + column);
    std::copy(colour.begin(), colour.end(), pixel);
  }
  // Two pixels thick.
  void line(double row, double column, double to_row, double to_column, const Colour& colour) {
    const double length = std::max(std::abs(to_row - row), std::abs(to_column - column));
    const auto num_steps = static_cast<std::int64_t>(std::ceil(length)) + 1;
    for (std::int64_t i = 0; i <= num_steps; ++i) {
      const double t = static_cast<double>(i) / static_cast<double>(num_steps);
      const auto r = static_cast<std::int64_t>(std::lround(row + t * (to_row - row)));
      const auto c = static_cast<std::int64_t>(std::lround(column + t * (to_column - column)));
      for (const std::int64_t down : {0, 1}) dot(r + down, c, colour);
    }
  }
  void text(std::int64_t row, std::int64_t column, const std::string& words, const Colour& colour) {
    draw_text(pixels_, row, column, words, kTextScale, colour);
  }

 private:
  at::Tensor pixels_;
};

constexpr std::int64_t chart_height() { return 2 * kLineHeight + kPlotHeight + kMargin; }

void draw_legend(Canvas& canvas, const Chart& chart, std::int64_t top) {
  std::int64_t left = kAxisLeft;
  for (std::size_t i = 0; i < chart.curves.size(); ++i) {
    canvas.text(top, left, chart.curves[i].label, kCurveColours[i % kCurveColours.size()]);
    left += text_width(chart.curves[i].label, kTextScale) + 2 * kMargin;
  }
}

void draw_chart(Canvas& canvas, const Chart& chart, const Range& x, std::int64_t top) {
  Range y{.low = 0.0, .high = 0.0};
  take_all(y, chart, [](const CurvePoint& point) { return point.y; });
  canvas.text(top, kMargin, chart.title, kInk);
  draw_legend(canvas, chart, top + kLineHeight);
  const std::int64_t plot_top = top + 2 * kLineHeight;
  const std::int64_t plot_bottom = plot_top + kPlotHeight - 1;
  canvas.text(plot_top, kMargin, fmt::format("{:.4g}", y.high), kFaintInk);
  canvas.text(plot_bottom - kGlyphHeight * kTextScale, kMargin, fmt::format("{:.4g}", y.low), kFaintInk);
  canvas.line(static_cast<double>(plot_top), kAxisLeft - 4, static_cast<double>(plot_bottom), kAxisLeft - 4, kFaintInk);
  canvas.line(static_cast<double>(plot_bottom), kAxisLeft - 4, static_cast<double>(plot_bottom), kWidth - kMargin,
              kFaintInk);
  const auto row_of = [&](double value) {
    return static_cast<double>(plot_bottom) - y.share(value) * (kPlotHeight - 2);
  };
  const auto column_of = [&](double value) { return kAxisLeft + x.share(value) * (kWidth - kMargin - kAxisLeft - 2); };
  for (std::size_t i = 0; i < chart.curves.size(); ++i) {
    const CurvePoint* last = nullptr;
    for (const CurvePoint& point : chart.curves[i].points) {
      if (!is_drawable(point)) continue;
      const CurvePoint& from = last != nullptr ? *last : point;
      canvas.line(row_of(from.y), column_of(from.x), row_of(point.y), column_of(point.x),
                  kCurveColours[i % kCurveColours.size()]);
      last = &point;
    }
  }
}

}  // namespace

at::Tensor draw_charts(const std::vector<Chart>& charts, const std::string& x_label) {
  Range x;
  for (const Chart& chart : charts) take_all(x, chart, [](const CurvePoint& point) { return point.x; });
  const std::int64_t num_charts = static_cast<std::int64_t>(charts.size());
  Canvas canvas(kMargin + num_charts * chart_height() + kLineHeight);
  for (std::int64_t i = 0; i < num_charts; ++i) {
    draw_chart(canvas, charts[static_cast<std::size_t>(i)], x, kMargin + i * chart_height());
  }
  if (x.low > x.high) return canvas.pixels();
  const std::int64_t row = kMargin + num_charts * chart_height();
  const std::string high = fmt::format("{:g} {}", x.high, x_label);
  canvas.text(row, kAxisLeft, fmt::format("{:g}", x.low), kFaintInk);
  canvas.text(row, kWidth - kMargin - text_width(high, kTextScale), high, kFaintInk);
  return canvas.pixels();
}

void write_charts_png(const std::filesystem::path& path, const std::vector<Chart>& charts, const std::string& x_label) {
  write_png(path, draw_charts(charts, x_label));
}

}  // namespace leda::pictures
