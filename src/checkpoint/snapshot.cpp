#include "checkpoint/snapshot.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

namespace leda::checkpoint {
namespace {

bool is_reusable(const at::Tensor& buffer, const at::Tensor& source) {
  return buffer.defined() && buffer.scalar_type() == source.scalar_type() && buffer.sizes() == source.sizes();
}

}  // namespace

void Snapshot::take(const CheckpointContent& content, const std::vector<ArchiveFile>& files) {
  const at::NoGradGuard no_grad;
  CheckpointContent before = std::move(content_);
  content_ = {.archives = {}, .state_json = content.state_json};
  for (const auto& [stem, archive] : content.archives) {
    storage::TensorArchive& copy = content_.archives[stem];
    copy.metadata = archive.metadata;
    for (const auto& [name, tensor] : archive.tensors) copy.tensors.emplace_back(name, at::Tensor());
  }
  for (const ArchiveFile& file : files) {
    const storage::TensorArchive& source = content.archives.at(file.stem);
    storage::TensorArchive& old = before.archives[file.stem];
    for (std::size_t i = file.first_tensor; i < file.first_tensor + file.num_tensors; ++i) {
      const at::Tensor& tensor = source.tensors[i].second;
      at::Tensor buffer = i < old.tensors.size() ? old.tensors[i].second : at::Tensor();
      if (!is_reusable(buffer, tensor)) buffer = at::empty(tensor.sizes(), at::TensorOptions().dtype(tensor.dtype()));
      buffer.copy_(tensor);
      content_.archives[file.stem].tensors[i].second = buffer;
    }
  }
}

}  // namespace leda::checkpoint
