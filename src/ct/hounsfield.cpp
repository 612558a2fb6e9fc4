#include "ct/hounsfield.hpp"

#include <ATen/TensorOperators.h>
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>

#include "base/error.hpp"

namespace leda::ct {
namespace {

struct Preset {
  std::string_view name;
  Window window;
};

constexpr std::array<Preset, 3> kPresets{
    {{"leda", {-1000.0, 2000.0}}, {"abdomen", {-160.0, 240.0}}, {"wide", {-1000.0, 1000.0}}}};

// The whole text as one finite number, whatever the locale.
std::optional<double> number_of(std::string_view text) {
  double value = 0.0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<Window> window_of_limits(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::optional<double> low = number_of(text.substr(0, colon));
  const std::optional<double> high = number_of(text.substr(colon + 1));
  if (!low || !high || !(*low < *high)) return std::nullopt;
  return Window{*low, *high};
}

}  // namespace

Window window_of(const std::string& name) {
  std::string names;
  for (const Preset& preset : kPresets) {
    if (preset.name == name) return preset.window;
    names += fmt::format("{}, ", preset.name);
  }
  if (const std::optional<Window> window = window_of_limits(name)) return *window;
  throw base::Error(base::ExitCode::options, {.what = "unknown HU window",
                                              .value = name,
                                              .why = "the window decides what the networks and the metrics see",
                                              .remedy = fmt::format("{}or LOW:HIGH in HU with LOW below HIGH, "
                                                                    "\"-200:300\" say",
                                                                    names)});
}

std::string window_name(const Window& window) {
  for (const Preset& preset : kPresets) {
    if (preset.window == window) return std::string(preset.name);
  }
  return fmt::format("{}:{}", window.low_hu, window.high_hu);
}

at::Tensor to_network_range(const at::Tensor& image_hu, const Window& window) {
  return (image_hu.clamp(window.low_hu, window.high_hu) - window.low_hu) / window.range_hu();
}

at::Tensor to_hu(const at::Tensor& image, const Window& window) { return image * window.range_hu() + window.low_hu; }

}  // namespace leda::ct
