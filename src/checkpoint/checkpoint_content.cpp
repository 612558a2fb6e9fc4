#include "checkpoint/checkpoint_content.hpp"

#include <ATen/ops/empty.h>

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

namespace leda::checkpoint {
namespace {

using Json = nlohmann::json;

// Everything but the values.
Json describe(const storage::TensorArchive& archive) {
  Json tensors = Json::array();
  for (const auto& [name, tensor] : archive.tensors) {
    tensors.push_back(
        {{"name", name}, {"type", static_cast<int>(tensor.scalar_type())}, {"shape", tensor.sizes().vec()}});
  }
  return {{"tensors", std::move(tensors)}, {"metadata", archive.metadata}};
}

storage::TensorArchive make_described(const Json& description) {
  storage::TensorArchive archive;
  archive.metadata = description.at("metadata").get<std::map<std::string, std::string>>();
  for (const Json& tensor : description.at("tensors")) {
    const auto type = static_cast<at::ScalarType>(tensor.at("type").get<int>());
    archive.tensors.emplace_back(tensor.at("name").get<std::string>(),
                                 at::empty(tensor.at("shape").get<std::vector<std::int64_t>>(), type));
  }
  return archive;
}

}  // namespace

void broadcast_checkpoint(distributed::Communicator& communicator, LoadedCheckpoint& checkpoint) {
  if (communicator.size() == 1) return;
  const bool is_source = communicator.rank() == 0;
  Json head;
  if (is_source) {
    head = {{"step", checkpoint.step},
            {"is_last", checkpoint.is_last},
            {"manifest", checkpoint.manifest_checksum},
            {"archives", Json::object()}};
    for (const auto& [stem, archive] : checkpoint.content.archives) head["archives"][stem] = describe(archive);
  }
  head = Json::parse(distributed::broadcast_text(communicator, is_source ? head.dump() : "", 0));
  checkpoint.content.state_json = distributed::broadcast_text(communicator, checkpoint.content.state_json, 0);
  checkpoint.provenance_json = distributed::broadcast_text(communicator, checkpoint.provenance_json, 0);
  if (!is_source) {
    checkpoint.step = head.at("step").get<std::int64_t>();
    checkpoint.is_last = head.at("is_last").get<bool>();
    checkpoint.manifest_checksum = head.at("manifest").get<std::string>();
    for (const auto& [stem, archive] : head.at("archives").items()) {
      checkpoint.content.archives[stem] = make_described(archive);
    }
  }
  for (const auto& [stem, archive] : checkpoint.content.archives) {
    for (const auto& [name, tensor] : archive.tensors) {
      if (tensor.numel() > 0) communicator.broadcast(tensor, 0);
    }
  }
}

}  // namespace leda::checkpoint
