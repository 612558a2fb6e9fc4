// CT images side by side as one picture: windowed, labelled, each with its grey scale in HU beneath. Pure functions.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

#include "ct/hounsfield.hpp"

namespace leda::pictures {

// The display window where nothing else is asked for: soft tissue.
inline constexpr ct::Window kSoftTissueWindow{-160.0, 240.0};

enum class Palette {
  grey,       // black to white over the window
  diverging,  // blue, black at the window's middle, orange: for differences
};

struct PanelImage {
  std::string label{};    // ASCII
  std::string detail{};   // a second line; may be empty
  at::Tensor image_hu{};  // H x W; undefined leaves the place empty
  ct::Window window = kSoftTissueWindow;
  Palette palette = Palette::grey;
};

// Symmetric about 0, for differences.
PanelImage difference_panel(std::string label, const at::Tensor& image_hu, const at::Tensor& reference_hu,
                            double half_width_hu);

// H x W x 3 uint8: the title above rows of panels of equal image size. Small images are enlarged by whole numbers
// (nearest neighbour: every pixel stays visible as it is) until they are at least 256 pixels wide.
at::Tensor draw_panels(const std::vector<std::vector<PanelImage>>& rows, const std::string& title);

void write_panels_png(const std::filesystem::path& path, const std::vector<std::vector<PanelImage>>& rows,
                      const std::string& title);

}  // namespace leda::pictures
