// One CT slice as shards hold it: stored numbers in HU, and what is known about it.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <string>

namespace leda::data {

struct SliceRecord {
  std::string patient;                              // pseudonym
  std::string series;                               // pseudonym
  std::array<double, 3> spacing_mm{1.0, 1.0, 1.0};  // between rows, columns and slices
  double position_mm = 0.0;                         // along the slice axis
  double dose_fraction = 1.0;                       // of low_dose, relative to normal_dose; 1 without low_dose

  bool operator==(const SliceRecord&) const = default;
};

// Tensors are H x W on the CPU; what is absent is undefined.
struct Slice {
  SliceRecord record;
  at::Tensor normal_dose_hu;  // int16
  at::Tensor low_dose_hu;     // int16
  at::Tensor tissue;          // uint8, ct/tissue labels
  at::Tensor noise_free_hu;   // int16
};

// Which images besides normal_dose are wanted; those the data set lacks come back undefined.
struct SliceFields {
  bool low_dose = false;
  bool tissue = false;
  bool noise_free = false;
};

}  // namespace leda::data
