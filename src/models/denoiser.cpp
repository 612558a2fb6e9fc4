#include "models/denoiser.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <string_view>

#include "base/error.hpp"
#include "models/red_cnn.hpp"

namespace leda::models {
namespace {

template <typename Network>
std::unique_ptr<Denoiser> make(const DenoiserOptions& options, const TensorSettings& settings) {
  return std::make_unique<Network>(options, settings);
}

struct DenoiserType {
  std::string_view name;
  std::unique_ptr<Denoiser> (*make)(const DenoiserOptions&, const TensorSettings&);
};

// A new denoiser is one line here.
constexpr std::array kDenoiserTypes{
    DenoiserType{"red_cnn", make<RedCnn>},
};

}  // namespace

std::vector<std::string> denoiser_types() {
  std::vector<std::string> names;
  for (const DenoiserType& type : kDenoiserTypes) names.emplace_back(type.name);
  return names;
}

std::unique_ptr<Denoiser> make_denoiser(const DenoiserOptions& options, const TensorSettings& settings) {
  if (options.channels < 1 || !(options.input_scale > 0.0)) {
    throw base::Error(base::ExitCode::options,
                      {.what = "The denoiser cannot be built",
                       .value = fmt::format("{} channels, input scale {}", options.channels, options.input_scale),
                       .why = {},
                       .remedy = "denoiser.channels of at least 1, denoiser.input_scale above 0"});
  }
  for (const DenoiserType& type : kDenoiserTypes) {
    if (options.type == type.name) return type.make(options, settings);
  }
  throw base::Error(base::ExitCode::options, {.what = "denoiser.type is unknown",
                                              .value = options.type,
                                              .why = {},
                                              .remedy = fmt::format("one of: {}", fmt::join(denoiser_types(), ", "))});
}

}  // namespace leda::models
