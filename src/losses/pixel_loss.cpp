#include "losses/pixel_loss.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/error.hpp"
#include "losses/reconstruction_loss.hpp"

namespace leda::losses {
namespace {

// docs/methods/denoiser_losses.md
constexpr std::array kPixelLosses{
    PixelLoss{"mse", squared_error_per_image},
    PixelLoss{"l1", absolute_error_per_image},
};

[[noreturn]] void refuse_losses(const std::string& value, const std::string& why) {
  std::vector<std::string> names;
  for (const PixelLoss& loss : kPixelLosses) names.emplace_back(loss.name);
  throw base::Error(base::ExitCode::options,
                    {.what = "option denoiser.losses",
                     .value = "'" + value + "'",
                     .why = why,
                     .remedy = fmt::format("NAME or NAME:WEIGHT with commas, of {}; mse, say, or {}:0.5",
                                           fmt::join(names, ", "), names.back())});
}

double weight_of(const std::string& text, const std::string& entry) {
  double weight = 0.0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), weight);
  const bool is_number = fault == std::errc{} && end == text.data() + text.size();
  if (!is_number || !std::isfinite(weight) || weight <= 0.0) {
    refuse_losses(entry, "a weight is a finite number above 0");
  }
  return weight;
}

}  // namespace

std::span<const PixelLoss> pixel_losses() { return kPixelLosses; }

WeightedPixelLoss pixel_loss_of(const std::string& text) {
  const std::size_t colon = text.find(':');
  const std::string name = text.substr(0, colon);
  for (const PixelLoss& loss : kPixelLosses) {
    if (name != loss.name) continue;
    return {loss, colon == std::string::npos ? 1.0 : weight_of(text.substr(colon + 1), text)};
  }
  refuse_losses(text, "there is no such loss");
}

std::vector<WeightedPixelLoss> pixel_losses_of(const std::vector<std::string>& texts) {
  if (texts.empty()) refuse_losses("", "without a loss nothing is learned");
  std::vector<WeightedPixelLoss> losses;
  for (const std::string& text : texts) {
    const WeightedPixelLoss next = pixel_loss_of(text);
    const bool is_known = std::any_of(losses.begin(), losses.end(), [&](const WeightedPixelLoss& known) {
      return std::string(known.loss.name) == next.loss.name;
    });
    if (is_known) refuse_losses(fmt::format("{}", fmt::join(texts, ",")), "a loss is named twice");
    losses.push_back(next);
  }
  return losses;
}

}  // namespace leda::losses
