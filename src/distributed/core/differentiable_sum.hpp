// A sum over ranks that gradients pass through, for statistics of the global batch inside a loss.
#pragma once

#include <ATen/core/Tensor.h>

#include "distributed/core/communicator.hpp"
#include "logging/trace.hpp"

namespace leda::distributed {

// y = sum over ranks r of x_r, the same on every rank. The objective is the sum over ranks of their losses L_q, each a
// function of y, so dL/dx_r = sum over q of dL_q/dy: backward sums the gradient over ranks too. Both directions are
// collective; all ranks build the same graph. The communicator, and the trace, which gets the waiting in both
// directions, must outlive the backward pass. The tensor itself with one rank.
at::Tensor sum_over_ranks(const at::Tensor& tensor, Communicator& communicator, logging::Trace* trace = nullptr);

}  // namespace leda::distributed
