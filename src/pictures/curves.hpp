// Charts of figures over steps, as pictures: curves with their legend, axes with the range written at their ends. Pure
// functions.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

namespace leda::pictures {

struct CurvePoint {
  double x;
  double y;
};

struct Curve {
  std::string label{};  // ASCII
  std::vector<CurvePoint> points{};
};

struct Chart {
  std::string title{};  // ASCII
  std::vector<Curve> curves{};
};

// H x W x 3 uint8: the charts one below the other, each with a y axis from 0, or its least value if that is below, to
// its greatest, and all with the same x axis. Points that are not finite are left out.
at::Tensor draw_charts(const std::vector<Chart>& charts, const std::string& x_label);

// Throws Error(storage).
void write_charts_png(const std::filesystem::path& path, const std::vector<Chart>& charts, const std::string& x_label);

}  // namespace leda::pictures
