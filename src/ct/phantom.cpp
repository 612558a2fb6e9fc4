#include "ct/phantom.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/upsample_bicubic2d.h>
#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "base/error.hpp"
#include "base/keyed_random.hpp"
#include "ct/phantom_canvas.hpp"
#include "ct/tissue.hpp"
#include "ct/torso_anatomy.hpp"

namespace leda::ct {
namespace {

constexpr int kSmallestSize = 64;
constexpr int kLargestSize = 512;
constexpr int kSizeStep = 16;
constexpr double kTextureSlicesPerTurn = 30.0;

void check(const PhantomOptions& options) {
  if (options.size < kSmallestSize || options.size > kLargestSize || options.size % kSizeStep != 0) {
    throw base::Error(base::ExitCode::options, {.what = "the phantoms' size is out of range",
                                                .value = fmt::format("{}", options.size),
                                                .why = {},
                                                .remedy = fmt::format("a multiple of {} from {} to {}", kSizeStep,
                                                                      kSmallestSize, kLargestSize)});
  }
  if (!(options.field_of_view_mm >= 1.0 && options.field_of_view_mm <= 1.0e4)) {
    throw base::Error(base::ExitCode::options, {.what = "the phantoms' field of view is out of range",
                                                .value = fmt::format("{} mm", options.field_of_view_mm),
                                                .why = {},
                                                .remedy = "1 to 10000 mm; a torso is about 360"});
  }
}

PhantomCanvas painted(const TorsoSlice& torso, int size, Edges edges) {
  PhantomCanvas canvas(size, kTorsoFieldMm / size, torso.pose, edges);
  for (const Structure& structure : torso.structures) canvas.paint(structure.ellipse, structure.material);
  return canvas;
}

// One octave of smooth random structure with `cells` independent numbers per side. Two fields rotate into each other
// from slice to slice, so that the variance stays and neighbours resemble each other.
at::Tensor texture_octave(int size, int cells, std::uint64_t seed, std::int64_t patient, std::int64_t slice) {
  base::KeyedRandom random{seed, base::key_of("phantom texture"), static_cast<std::uint64_t>(patient),
                           static_cast<std::uint64_t>(cells)};
  const double turn = 2.0 * std::numbers::pi * static_cast<double>(slice) / kTextureSlicesPerTurn;
  const double cosine = std::cos(turn), sine = std::sin(turn);
  const at::Tensor coarse = at::empty({1, 1, cells, cells}, at::kFloat);
  float* const values = coarse.data_ptr<float>();
  for (int i = 0; i < cells * cells; ++i) {
    const double first = random.normal(), second = random.normal();
    values[i] = static_cast<float>(cosine * first + sine * second);
  }
  return at::upsample_bicubic2d(coarse, {size, size}, /*align_corners=*/true).squeeze();
}

// Mean 0 and standard deviation about 1: what remains visible of fibres, lobules and vessels too small to paint.
// Structures of 26, 13 and 6.5 mm; the sum of three octaves of weights 0.6, 0.7 and 0.75 after interpolation.
at::Tensor texture(int size, std::uint64_t seed, std::int64_t patient, std::int64_t slice) {
  return texture_octave(size, 14, seed, patient, slice) * 0.6 + texture_octave(size, 28, seed, patient, slice) * 0.7 +
         texture_octave(size, 56, seed, patient, slice) * 0.75;
}

}  // namespace

Phantom make_phantom(const PhantomOptions& options, std::uint64_t seed, std::int64_t patient, std::int64_t slice) {
  check(options);
  const int object_size = kObjectPixelsPerImagePixel * options.size;
  const TorsoSlice torso = make_torso_slice(seed, patient, slice);
  const PhantomCanvas object = painted(torso, object_size, Edges::blended);
  const PhantomCanvas labels = painted(torso, options.size, Edges::hard);
  return {.object_hu = object.hu() + object.texture_hu() * texture(object_size, seed, patient, slice),
          .tissue = tissue_of_hu(labels.hu()),
          .image_pixel_mm = options.field_of_view_mm / options.size,
          .object_pixel_mm = options.field_of_view_mm / object_size};
}

}  // namespace leda::ct
