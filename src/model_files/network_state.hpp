// Networks to and from archives of named tensors, strictly: every name and shape must be there.
#pragma once

#include <map>
#include <string>

#include "models/network.hpp"
#include "storage/safetensors.hpp"

namespace leda::model_files {

// Finds tensors of an archive by name. Borrows the archive; `description` names it in messages.
class ArchiveIndex {
 public:
  ArchiveIndex(const storage::TensorArchive& archive, std::string description);

  // Throws Error(data) where the name is missing or the shape differs.
  void copy_into(const std::string& name, const at::Tensor& target) const;

 private:
  std::map<std::string, at::Tensor> tensors_;
  std::string description_;
};

void append_network(const std::string& prefix, const models::TensorTable& table, storage::TensorArchive& archive);
void load_network(const std::string& prefix, const storage::TensorArchive& archive, const models::TensorTable& table,
                  const std::string& description);
// A text that two networks share if and only if their entries have equal names, shapes and types.
std::string network_identity(const models::TensorTable& table);

}  // namespace leda::model_files
