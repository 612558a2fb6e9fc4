#include "models/autoencoder.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "models/pyramid_masks.hpp"

namespace leda::models {
namespace {

void require(bool holds, const std::string& option, const std::string& value, const std::string& remedy) {
  if (holds) return;
  throw base::Error(base::ExitCode::options,
                    {.what = option + " makes no network", .value = value, .why = {}, .remedy = remedy});
}

AutoencoderOptions checked(AutoencoderOptions options) {
  const auto positive = [](int value) { return value > 0; };
  require(options.channels > 0, "autoencoder.channels", fmt::to_string(options.channels), "a positive number");
  require(!options.multipliers.empty() && options.multipliers.size() <= 16 &&
              std::all_of(options.multipliers.begin(), options.multipliers.end(), positive),
          "autoencoder.multipliers", fmt::format("{}", fmt::join(options.multipliers, ",")),
          "1 to 16 positive numbers, 1,1,2,2,4 for example");
  require(options.encoder_blocks > 0, "autoencoder.encoder_blocks", fmt::to_string(options.encoder_blocks),
          "at least 1 block");
  require(options.decoder_blocks > 0, "autoencoder.decoder_blocks", fmt::to_string(options.decoder_blocks),
          "at least 1 block");
  require(options.latent_channels >= 0, "autoencoder.latent_channels", fmt::to_string(options.latent_channels),
          "a positive number, or 0 for channels times the last multiplier");
  require(options.norm_groups > 0, "autoencoder.norm_groups", fmt::to_string(options.norm_groups), "a positive number");
  require(options.vocabulary_tile > 0, "autoencoder.vocabulary_tile", fmt::to_string(options.vocabulary_tile),
          "a positive number of words");
  require(options.temperature > 0.0 && std::isfinite(options.temperature), "autoencoder.temperature",
          fmt::format("{}", options.temperature), "a finite number above 0");
  const int num_levels = static_cast<int>(options.multipliers.size());
  for (const int level : options.attention_levels) {
    require(level >= 0 && level < num_levels, "autoencoder.attention_levels", fmt::to_string(level),
            fmt::format("levels from 0 (full resolution) to {}", num_levels - 1));
  }
  require(!is_published(options) || options.attention_levels == published_attention_levels(options),
          "autoencoder.attention_levels",
          fmt::format("'{}', with autoencoder.compatibility = published", fmt::join(options.attention_levels, ",")),
          "the level at 16 x 16 of 512 x 512 images: none of five levels, 5 of six or more");
  pyramid_levels(options.strides, 1, 1);  // throws where the strides make no pyramid
  if (options.latent_channels == 0) options.latent_channels = options.channels * options.multipliers.back();
  return options;
}

}  // namespace

bool is_published(const AutoencoderOptions& options) { return options.compatibility == Compatibility::published; }

bool normalises_single_channels(const AutoencoderOptions& options) { return options.norm_groups >= options.channels; }

std::vector<int> published_attention_levels(const AutoencoderOptions& options) {
  constexpr int kLevelOf16Pixels = 5;  // of 512, halved from level to level
  if (options.multipliers.size() <= kLevelOf16Pixels) return {};
  return {kLevelOf16Pixels};
}

bool has_attention(const AutoencoderOptions& options, int level) {
  const auto& levels = options.attention_levels;
  return std::find(levels.begin(), levels.end(), level) != levels.end();
}

Autoencoder::Autoencoder(const AutoencoderOptions& options, const at::Tensor& codebook, const TensorSettings& settings)
    : options_(checked(options)) {
  const TensorScope scope(table_, settings);
  const std::int64_t token_channels = codebook.size(1);
  const std::int64_t latent_channels = options_.latent_channels;
  encoder_ = make_encoder(scope.child("encoder"), options_);
  if (options_.has_decoder) decoder_ = make_decoder(scope.child("decoder"), options_);
  quant_conv_ = make_conv2d(scope.child("quant_conv"),
                            {.in_channels = latent_channels, .out_channels = token_channels, .kernel = 1});
  if (options_.has_decoder) {
    post_quant_conv_ = make_conv2d(scope.child("post_quant_conv"),
                                   {.in_channels = token_channels, .out_channels = latent_channels, .kernel = 1});
  }
  const at::Tensor own_codebook = codebook.detach().to(settings.dtype).clone();
  codebook_ = scope.buffer(kCodebookName, own_codebook.contiguous());
}

at::Tensor Autoencoder::encode(const at::Tensor& images) const {
  const std::int64_t multiple = downsampling();
  if (images.size(2) % multiple != 0 || images.size(3) % multiple != 0) {
    throw base::Error(base::ExitCode::data, {.what = "The autoencoder cannot encode images of this size",
                                             .value = fmt::format("{} x {}", images.size(2), images.size(3)),
                                             .why = fmt::format("it halves the resolution down to 1/{}", multiple),
                                             .remedy = fmt::format("pad or crop to multiples of {}", multiple)});
  }
  const at::Tensor latent = quant_conv_(encoder_(images));
  return options_.normalise_latents ? to_unit_length(latent, 1) : latent;
}

QuantizedLatent Autoencoder::quantize(const at::Tensor& latent, const QuantizeRequest& request) const {
  QuantizeRequest own_request = request;
  own_request.final_count_in_commitment = request.final_count_in_commitment || is_published(options_);
  return quantize_pyramid(latent, codebook_, options_.strides, options_.vocabulary_tile, own_request, metric());
}

const Decoder& Autoencoder::decoder() const {
  if (decoder_) return *decoder_;
  throw base::Error(base::ExitCode::data, {.what = "this autoencoder has no decoder",
                                           .value = "imported with --encoder-only",
                                           .why = "it encodes and quantises, which is all that stage 2 needs",
                                           .remedy = "import the checkpoint again, without --encoder-only"});
}

at::Tensor Autoencoder::decode(const at::Tensor& quantized) const {
  const Decoder& decode_latent = decoder();
  return decode_latent((*post_quant_conv_)(quantized));
}

}  // namespace leda::models
