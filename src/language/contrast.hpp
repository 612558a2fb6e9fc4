// Whether what is as bright as enhanced blood is blood. The label `blood` is an HU range (ct/tissue): in a scan with
// contrast agent, vessels and organs lie in it; without, spongy bone and calcium do (docs/methods/candidate_words.md).
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <string_view>

namespace leda::language {

// Of the pixels from 20 to 200 HU, the share above 90 HU from which a slice counts as enhanced: a choice of this
// project.
inline constexpr double kEnhancedShare = 0.2;

// Whether the scan has contrast agent; automatic: each slice by kEnhancedShare.
enum class Contrast { enhanced, none, automatic };
constexpr std::array<std::string_view, 3> names_of(Contrast) { return {"enhanced", "none", "auto"}; }

// tissue: B x H x W, uint8 labels of any device. enhanced: as they are; none: blood becomes bone; automatic: the one or
// the other, by each slice's kEnhancedShare.
at::Tensor with_contrast(const at::Tensor& tissue, Contrast contrast);

}  // namespace leda::language
