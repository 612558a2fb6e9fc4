// What lies where in one axial slice of a made-up patient: structures in the order in which they are painted.
#pragma once

#include <cstdint>
#include <vector>

#include "ct/phantom_canvas.hpp"

namespace leda::ct {

struct Structure {
  WavyEllipse ellipse;
  Material material;
};

struct TorsoSlice {
  Pose pose;
  std::vector<Structure> structures;
};

// For a field of view of kTorsoFieldMm. A pure function; the slices of one patient change smoothly with their number,
// from the chest to the upper abdomen and back.
TorsoSlice make_torso_slice(std::uint64_t seed, std::int64_t patient, std::int64_t slice);

inline constexpr double kTorsoFieldMm = 360.0;

}  // namespace leda::ct
