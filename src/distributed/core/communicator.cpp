#include "distributed/core/communicator.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace leda::distributed {
namespace {

at::Tensor bytes_of(const std::string& text, std::int64_t num_bytes) {
  at::Tensor bytes = at::zeros({num_bytes}, at::kByte);
  if (!text.empty()) std::memcpy(bytes.data_ptr(), text.data(), text.size());
  return bytes;
}

at::Tensor length_of(const std::string& text) {
  at::Tensor length = at::empty({1}, at::kLong);
  *length.mutable_data_ptr<std::int64_t>() = static_cast<std::int64_t>(text.size());
  return length;
}

}  // namespace

void all_reduce(Communicator& communicator, at::Tensor tensor) {
  communicator.start_all_reduce(std::move(tensor))->wait();
}

void all_to_all(Communicator& communicator, at::Tensor sent, at::Tensor received) {
  communicator.start_all_to_all(std::move(sent), std::move(received))->wait();
}

at::Tensor all_gather(Communicator& communicator, const at::Tensor& tensor) {
  const at::Tensor part = tensor.detach().contiguous();
  std::vector<std::int64_t> shape = part.sizes().vec();
  shape.insert(shape.begin(), communicator.size());
  at::Tensor all = at::empty(shape, part.options());
  communicator.start_all_gather(part, all)->wait();
  return all;
}

std::vector<std::string> all_gather_texts(Communicator& communicator, const std::string& text) {
  const at::Tensor lengths = all_gather(communicator, length_of(text)).flatten();
  const std::int64_t* length = lengths.const_data_ptr<std::int64_t>();
  const std::int64_t longest = *std::max_element(length, length + communicator.size());
  const at::Tensor bytes = all_gather(communicator, bytes_of(text, longest));
  std::vector<std::string> texts;
  for (int rank = 0; rank < communicator.size(); ++rank) {
    const char* begin = static_cast<const char*>(bytes.const_data_ptr()) + rank * longest;
    texts.emplace_back(begin, static_cast<std::size_t>(length[rank]));
  }
  return texts;
}

std::string broadcast_text(Communicator& communicator, const std::string& text, int root) {
  const at::Tensor length = length_of(text);
  communicator.broadcast(length, root);
  const std::int64_t num_bytes = *length.const_data_ptr<std::int64_t>();
  const bool is_root = communicator.rank() == root;
  const at::Tensor bytes = bytes_of(is_root ? text : std::string(), num_bytes);
  communicator.broadcast(bytes, root);
  return {static_cast<const char*>(bytes.const_data_ptr()), static_cast<std::size_t>(num_bytes)};
}

}  // namespace leda::distributed
