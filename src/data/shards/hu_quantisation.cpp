#include "data/shards/hu_quantisation.hpp"

namespace leda::data {

at::Tensor quantise_hu(const at::Tensor& image_hu) { return image_hu.round().clamp(-32768, 32767).to(at::kShort); }

}  // namespace leda::data
