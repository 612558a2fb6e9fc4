#include "training/stages/term_gradients.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <utility>

#include "distributed/core/batch_partition.hpp"

namespace leda::training {

TermGradients::TermGradients(std::vector<Term> terms, std::int64_t global_count,
                             distributed::Communicator& communicator, at::Device device)
    : terms_(std::move(terms)),
      communicator_(communicator),
      next_image_(distributed::partition_of_rank(global_count, communicator.rank(), communicator.size()).first),
      squares_(at::zeros({global_count, static_cast<std::int64_t>(terms_.size())},
                         at::TensorOptions(at::kDouble).device(device))) {}

void TermGradients::add(const std::vector<at::Tensor>& values, const at::Tensor& denoised) {
  const std::int64_t num_images = denoised.size(0);
  if (num_images == 0) return;
  for (std::size_t term = 0; term < terms_.size(); ++term) {
    const at::Tensor gradient =
        torch::autograd::grad({values[term]}, {denoised}, {}, /*retain_graph=*/true).front() * terms_[term].weight;
    squares_.narrow(0, next_image_, num_images)
        .select(1, static_cast<std::int64_t>(term))
        .copy_(gradient.to(at::kDouble).square().flatten(1).sum(1));
  }
  next_image_ += num_images;
}

std::vector<logging::Scalar> TermGradients::ratios() const {
  at::Tensor squares = squares_.clone();
  distributed::all_reduce(communicator_, squares);
  const at::Tensor sums = squares.cpu().sum(0);
  const double* const sum = sums.const_data_ptr<double>();
  std::vector<logging::Scalar> ratios;
  for (std::size_t term = 1; term < terms_.size() && sum[0] > 0.0; ++term) {
    ratios.push_back({terms_[term].name + "_gradient_ratio", std::sqrt(sum[term] / sum[0])});
  }
  return ratios;
}

}  // namespace leda::training
