// A copy of a checkpoint's content in host memory, which training does not change while a writer reads it. The memory
// stays for the next copy, so that only the first one has to get it from the system. Lives as long as its store; taken
// on one thread, read on another, never both at once.
#pragma once

#include <vector>

#include "checkpoint/archive_files.hpp"
#include "checkpoint/checkpoint_content.hpp"

namespace leda::checkpoint {

class Snapshot {
 public:
  // Copies metadata, state_json and the tensors of `files`; other tensors of the copy are undefined. Waits for the
  // device where tensors are on one.
  void take(const CheckpointContent& content, const std::vector<ArchiveFile>& files);

  // Names and places of tensors are those of the content that was taken last.
  const CheckpointContent& content() const { return content_; }

 private:
  CheckpointContent content_;
};

}  // namespace leda::checkpoint
