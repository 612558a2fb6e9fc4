// A stack of slices as other people's files hold it, brought to one orientation.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>

namespace leda::exchange {

struct Volume {
  at::Tensor hu;                       // int16 [slice, row, column]; row 0 is the patient's front
  std::array<double, 3> spacing_mm{};  // between rows, columns and slices
};

}  // namespace leda::exchange
