// From a denoiser's file to denoised images in HU: the one way that every program takes. Owns the network; used from
// one thread at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>

#include "model_files/denoiser_file.hpp"

namespace leda::inference {

class DenoiserInference {
 public:
  // Type and device of `settings` are those it computes in; up to `max_slices` are computed at once. Throws Error(data)
  // for a file that is none or does not fit.
  DenoiserInference(const std::filesystem::path& file, const models::TensorSettings& settings,
                    std::int64_t max_slices = 1);

  // low_dose_hu: [rows, columns] or [slices, rows, columns] of any size, real type and device; what lies outside of the
  // network's window is clipped to it. The same shape, float64, on the CPU. Sides that the network cannot take are
  // padded with the nearest pixel, at the bottom and at the right, and cut back. NaN goes through.
  at::Tensor denoise_hu(const at::Tensor& low_dose_hu) const;

  const model_files::DenoiserFacts& facts() const { return file_.facts; }

 private:
  at::Tensor denoise_batch(const at::Tensor& slices_hu) const;

  models::TensorSettings settings_;
  std::int64_t max_slices_;
  model_files::DenoiserFile file_;
};

}  // namespace leda::inference
