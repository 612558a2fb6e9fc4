// The autoencoder whose latent space LEDA aligns: encoder, 1x1 convolution, pyramid quantiser over a frozen
// vocabulary, 1x1 convolution, decoder (the VQGAN of taming-transformers with SPAE's quantiser). Stage 1 trains it,
// stage 2 reads from it, frozen. Owns its tensors, under the published state-dict names; the codebook is a buffer.
// Used from one thread at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "models/decoder.hpp"
#include "models/encoder.hpp"
#include "models/layers.hpp"
#include "models/network.hpp"
#include "models/pyramid_quantizer.hpp"

namespace leda::models {

// How the nearest word of a latent vector is found (models/vocabulary_scores).
enum class WordDistance { euclidean, cosine };
constexpr std::array<std::string_view, 2> names_of(WordDistance) { return {"euclidean", "cosine"}; }

// published: quantiser and losses as the published code has them, for its weights (docs/methods/published_weights.md).
enum class Compatibility { none, published };
constexpr std::array<std::string_view, 2> names_of(Compatibility) { return {"none", "published"}; }

// The codebook among an autoencoder's tensors, as the published state dict has it.
inline constexpr const char* kCodebookName = "quantize.embedding.weight";

// The defaults are the published network.
struct AutoencoderOptions {
  int channels = 64;
  std::vector<int> multipliers{1, 1, 2, 2, 4};  // of `channels`, one per level, full resolution first
  int encoder_blocks = 1;                       // residual blocks per level
  int decoder_blocks = 2;
  int latent_channels = 0;              // the encoder's output; 0: channels x the last multiplier (256 as published)
  std::vector<int> attention_levels{};  // levels with attention besides the middle; 0 = full resolution
  int norm_groups = 32;                 // reduced to divide the channels
  std::vector<int> strides{16, 4, 1};   // of the token pyramid, on the latent map
  int vocabulary_tile = 4096;           // words scored at a time
  WordDistance distance = WordDistance::euclidean;
  double temperature = 1.0;        // of the softmax over words
  bool normalise_latents = false;  // every latent vector is divided by its length
  Compatibility compatibility = Compatibility::none;
  bool has_decoder = true;  // false: what stage 2 needs and no more; of imported files, not an option of jobs
};

bool is_published(const AutoencoderOptions& options);
// Levels with attention in the published code: where 512 x 512 images have become 16 x 16, which its own five levels do
// not reach.
std::vector<int> published_attention_levels(const AutoencoderOptions& options);

// Whether the narrowest norms have groups of one channel. Where the image is flat, such a channel is divided by a
// spread near zero, in layer after layer, and gradients with respect to the image explode
// (docs/methods/autoencoder.md).
bool normalises_single_channels(const AutoencoderOptions& options);

bool has_attention(const AutoencoderOptions& options, int level);

class Autoencoder {
 public:
  // codebook: V x C, copied into the buffer `quantize.embedding.weight`. Throws Error(options) for options that make
  // no network.
  Autoencoder(const AutoencoderOptions& options, const at::Tensor& codebook, const TensorSettings& settings);
  Autoencoder(const Autoencoder&) = delete;
  Autoencoder& operator=(const Autoencoder&) = delete;

  TensorTable& tensors() { return table_; }
  const TensorTable& tensors() const { return table_; }
  const AutoencoderOptions& options() const { return options_; }
  at::Tensor codebook() const { return codebook_; }
  // Image pixels per latent position on each axis; image sides are multiples of it.
  int downsampling() const { return 1 << (static_cast<int>(options_.multipliers.size()) - 1); }

  VocabularyMetric metric() const { return {options_.distance == WordDistance::cosine, options_.temperature}; }
  // B x 1 x H x W to the latent z, B x C x h x w; of length 1 at every position with options().normalise_latents.
  at::Tensor encode(const at::Tensor& images) const;
  QuantizedLatent quantize(const at::Tensor& latent, const QuantizeRequest& request) const;
  // A quantised latent, B x C x h x w, to images, B x 1 x H x W. Throws Error(data) where there is no decoder.
  at::Tensor decode(const at::Tensor& quantized) const;
  // decoder.conv_out.weight: where stage 1 compares the gradients of its losses.
  at::Tensor last_layer_weight() const { return decoder().conv_out.weight; }

 private:
  const Decoder& decoder() const;

  AutoencoderOptions options_;
  TensorTable table_;
  Encoder encoder_;
  Conv2d quant_conv_;
  std::optional<Decoder> decoder_;
  std::optional<Conv2d> post_quant_conv_;
  at::Tensor codebook_;
};

}  // namespace leda::models
