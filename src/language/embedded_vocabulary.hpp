// The bytes of the vocabulary file that is part of the program (data_tools/vocabulary/minilm_1500.h5).
#pragma once

#include <cstddef>
#include <span>

namespace leda::language {

std::span<const std::byte> embedded_vocabulary();

}  // namespace leda::language
