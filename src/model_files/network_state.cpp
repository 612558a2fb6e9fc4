#include "model_files/network_state.hpp"

#include <ATen/core/grad_mode.h>
#include <c10/core/ScalarType.h>
#include <fmt/format.h>

#include <span>
#include <utility>

#include "base/error.hpp"
#include "storage/checksum.hpp"

namespace leda::model_files {
namespace {

std::string shape_text(const at::Tensor& tensor) { return fmt::format("[{}]", fmt::join(tensor.sizes(), ", ")); }

template <typename Visit>
void for_each_entry(const models::TensorTable& table, Visit visit) {
  for (const models::NamedTensor& entry : table.parameters) visit(entry);
  for (const models::NamedTensor& entry : table.buffers) visit(entry);
}

}  // namespace

ArchiveIndex::ArchiveIndex(const storage::TensorArchive& archive, std::string description)
    : tensors_(archive.tensors.begin(), archive.tensors.end()), description_(std::move(description)) {}

void ArchiveIndex::copy_into(const std::string& name, const at::Tensor& target) const {
  const auto found = tensors_.find(name);
  const bool missing = found == tensors_.end();
  if (missing || found->second.sizes() != target.sizes()) {
    throw base::Error(base::ExitCode::data,
                      {.what = fmt::format("{} does not fit this network: entry {}", description_, name),
                       .value = missing ? "missing" : "shape " + shape_text(found->second),
                       .why = fmt::format("the network of these options needs shape {}", shape_text(target)),
                       .remedy = "use the options the file was made with, or start afresh with --new-run"});
  }
  const at::NoGradGuard no_grad;
  target.detach().copy_(found->second);
}

void append_network(const std::string& prefix, const models::TensorTable& table, storage::TensorArchive& archive) {
  for_each_entry(table, [&](const models::NamedTensor& entry) {
    archive.tensors.emplace_back(prefix + entry.name, entry.tensor.detach());
  });
}

void load_network(const std::string& prefix, const storage::TensorArchive& archive, const models::TensorTable& table,
                  const std::string& description) {
  const ArchiveIndex index(archive, description);
  for_each_entry(table, [&](const models::NamedTensor& entry) { index.copy_into(prefix + entry.name, entry.tensor); });
}

std::string network_identity(const models::TensorTable& table) {
  std::string entries;
  for_each_entry(table, [&](const models::NamedTensor& entry) {
    entries +=
        fmt::format("{} {} {}\n", entry.name, shape_text(entry.tensor), c10::toString(entry.tensor.scalar_type()));
  });
  return storage::checksum_text(storage::checksum(std::as_bytes(std::span(entries.data(), entries.size()))));
}

}  // namespace leda::model_files
