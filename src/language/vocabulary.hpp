// The vocabulary: words and their embeddings in a language model, which become the autoencoder's frozen codebook. A
// plain value, read once at the start of a run from an HDF5 file (docs/formats/vocabulary.md) or from the one built in.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace leda::language {

struct Vocabulary {
  std::vector<std::string> words;  // V, all different; a word's index is its token
  at::Tensor embeddings;           // V x C, float32, CPU
  std::string source;              // the model they come from
  std::string licence;             // that model's licence
  std::string hash;                // 16 hex digits over words and embeddings, as the file's version takes them

  std::int64_t size() const { return static_cast<std::int64_t>(words.size()); }
};

// "builtin" or the path of a vocabulary file. Throws Error(data) that names the file and what is wrong with it.
Vocabulary load_vocabulary(const std::string& file);

// The hash that a vocabulary's file states, which is what runs and network files know it by; the content is not read.
// Throws as load_vocabulary, which also compares the two.
std::string stated_vocabulary_hash(const std::string& file);

// Versions of the format: of 1 the hash is FNV-1a (64 bit), byte by byte; of 2 XXH3 (64 bit), as of all other files
// here.
inline constexpr std::int64_t kVocabularyVersion = 2;
// Over each word followed by a newline, then over the embeddings as little-endian float32, row by row.
std::string vocabulary_hash(const std::vector<std::string>& words, const at::Tensor& embeddings,
                            std::int64_t version = kVocabularyVersion);

// The codebook, V x C: the embeddings as they are, or with rows of length 1.
at::Tensor make_codebook(const Vocabulary& vocabulary, bool normalise_rows, at::ScalarType dtype);

// 16 hex digits over type, shape and bytes of a codebook on any device: equal before and after training, or the
// codebook was not frozen.
std::string codebook_hash(const at::Tensor& codebook);

}  // namespace leda::language
