#include "language/embedded_vocabulary.hpp"

// The file becomes read-only data of the program: no path to find at run time.
__asm__(
    ".pushsection .rodata\n"
    ".balign 16\n"
    ".global leda_builtin_vocabulary_begin\n"
    ".hidden leda_builtin_vocabulary_begin\n"
    "leda_builtin_vocabulary_begin:\n"
    ".incbin \"" LEDA_BUILTIN_VOCABULARY
    "\"\n"
    ".global leda_builtin_vocabulary_end\n"
    ".hidden leda_builtin_vocabulary_end\n"
    "leda_builtin_vocabulary_end:\n"
    ".popsection\n");

extern "C" {
__attribute__((visibility("hidden"))) extern const std::byte leda_builtin_vocabulary_begin[];
__attribute__((visibility("hidden"))) extern const std::byte leda_builtin_vocabulary_end[];
}

namespace leda::language {

std::span<const std::byte> embedded_vocabulary() {
  return {leda_builtin_vocabulary_begin, leda_builtin_vocabulary_end};
}

}  // namespace leda::language
