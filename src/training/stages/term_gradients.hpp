// How strongly the terms of a loss pull at the denoised image: per image, the squared norm of each term's gradient
// there. One step; made for steps that are logged, because each term costs a backward pass of its own. Those passes end
// at the denoised image: no parameter's gradient is touched, no hook called.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "distributed/core/communicator.hpp"
#include "logging/scalar.hpp"

namespace leda::training {

class TermGradients {
 public:
  struct Term {
    std::string name;
    double weight = 1.0;  // in the total
  };

  // terms: the first is what the others are compared with. The communicator outlives this.
  TermGradients(std::vector<Term> terms, std::int64_t global_count, distributed::Communicator& communicator,
                at::Device device);

  // This rank's next micro-batch. values: one for each term, unweighted, shares of the mean over the global batch;
  // denoised: B x 1 x H x W in their graph, which is kept; B may be 0.
  void add(const std::vector<at::Tensor>& values, const at::Tensor& denoised);
  // For each term but the first NAME_gradient_ratio: the norm of its weighted gradient over the images of all ranks,
  // divided by the first term's. Nothing where that one is 0. Collective; waits for the device.
  std::vector<logging::Scalar> ratios() const;

 private:
  std::vector<Term> terms_;
  distributed::Communicator& communicator_;
  std::int64_t next_image_;  // in the global batch
  // [global batch, terms], float64, 0 for other ranks' images: summed in one order, whoever had which image.
  at::Tensor squares_;
};

}  // namespace leda::training
