// Units: HU, the network range [0, 1] of a window, and attenuation per mm. A tensor without a unit suffix in its name
// is in network range.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace leda::ct {

// An HU interval mapped linearly onto [0, 1].
struct Window {
  double low_hu = -1000.0;
  double high_hu = 2000.0;
  double range_hu() const { return high_hu - low_hu; }
  bool operator==(const Window&) const = default;
};

// Presets by name: leda [-1000, 2000], abdomen [-160, 240], wide [-1000, 1000]; or "LOW:HIGH" in HU, "-200:300" say.
// Throws Error(options) that lists the names.
Window window_of(const std::string& name);
// The text window_of reads back.
std::string window_name(const Window& window);

// Clipped to the window, then [0, 1].
at::Tensor to_network_range(const at::Tensor& image_hu, const Window& window);
// The inverse, without clipping.
at::Tensor to_hu(const at::Tensor& image, const Window& window);

}  // namespace leda::ct
