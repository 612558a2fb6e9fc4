// The words a frozen autoencoder sees in a CT image: per level of its token pyramid the token at each position.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ct/hounsfield.hpp"
#include "models/autoencoder.hpp"

namespace leda::evaluation {

// One level, on the CPU. Where the level does not exist on this image size, the tensors are undefined.
struct LevelWords {
  bool exists = false;
  std::int64_t cell_pixels = 0;  // side of the square of image pixels that a position stands for
  at::Tensor tokens;             // rows x columns, int64
  at::Tensor margins;            // rows x columns, float64: score of the token minus the runner-up's; if asked for

  std::int64_t rows() const { return tokens.size(0); }
  std::int64_t columns() const { return tokens.size(1); }
};

// Owns the autoencoder; used from one thread.
class WordReader {
 public:
  // `window`: that of the autoencoder's images. `file` names it in messages. Throws Error(data) for weights or a
  // codebook with NaN or infinity, naming the entry.
  WordReader(std::shared_ptr<const models::Autoencoder> autoencoder, const ct::Window& window, const std::string& file);

  // image_hu: H x W. One entry per stride of the pyramid. Throws Error(data) for sides the autoencoder cannot halve.
  std::vector<LevelWords> read(const at::Tensor& image_hu, bool with_margins) const;

  at::Tensor codebook() const { return codebook_; }  // V x C, float64, CPU
  std::size_t num_levels() const { return autoencoder_->options().strides.size(); }
  const models::Autoencoder& autoencoder() const { return *autoencoder_; }
  const ct::Window& window() const { return window_; }

 private:
  std::shared_ptr<const models::Autoencoder> autoencoder_;
  ct::Window window_;
  at::Tensor codebook_;
};

// Which cells lie in the body: at least half of a cell's pixels do. body: H x W, uint8; bool, rows x columns.
at::Tensor cells_in_body(const at::Tensor& body, const LevelWords& level);

}  // namespace leda::evaluation
