#include "inference/denoiser_inference.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/replication_pad2d.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cassert>
#include <vector>

#include "ct/hounsfield.hpp"

namespace leda::inference {
namespace {

// The least size that the network takes and that holds `size` pixels.
std::int64_t padded_size(std::int64_t size, const models::Denoiser& denoiser) {
  const std::int64_t multiple = denoiser.size_multiple();
  const std::int64_t least = std::max<std::int64_t>(size, denoiser.smallest_size());
  return (least + multiple - 1) / multiple * multiple;
}

}  // namespace

DenoiserInference::DenoiserInference(const std::filesystem::path& file, const models::TensorSettings& settings,
                                     std::int64_t max_slices)
    : settings_(settings), max_slices_(max_slices), file_(model_files::load_denoiser(file, settings)) {
  assert(max_slices > 0);
}

at::Tensor DenoiserInference::denoise_hu(const at::Tensor& low_dose_hu) const {
  const c10::NoGradGuard no_gradients;
  if (low_dose_hu.dim() == 2) return denoise_batch(low_dose_hu.unsqueeze(0)).squeeze(0);
  std::vector<at::Tensor> batches;
  for (std::int64_t first = 0; first < low_dose_hu.size(0); first += max_slices_) {
    batches.push_back(denoise_batch(low_dose_hu.narrow(0, first, std::min(max_slices_, low_dose_hu.size(0) - first))));
  }
  return batches.empty() ? low_dose_hu.cpu().to(at::kDouble) : at::cat(batches);
}

at::Tensor DenoiserInference::denoise_batch(const at::Tensor& slices_hu) const {
  const ct::Window& window = file_.facts.window;
  const std::int64_t rows = slices_hu.size(1), columns = slices_hu.size(2);
  const std::int64_t rows_below = padded_size(rows, *file_.denoiser) - rows;
  const std::int64_t columns_right = padded_size(columns, *file_.denoiser) - columns;
  at::Tensor input = ct::to_network_range(slices_hu.to(at::kDouble), window).unsqueeze(1);
  input = input.to(settings_.dtype).to(settings_.device);
  if (rows_below > 0 || columns_right > 0) {
    input = at::replication_pad2d(input, {0, columns_right, 0, rows_below});
  }
  const at::Tensor output = file_.denoiser->denoise(input).narrow(2, 0, rows).narrow(3, 0, columns);
  return ct::to_hu(output.squeeze(1).cpu().to(at::kDouble), window);
}

}  // namespace leda::inference
