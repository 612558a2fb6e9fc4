// The journal of everything that was done to the files below the watched folder, by all processes of a job, in the
// order in which it happened: a call and its record are made under one lock over all threads and processes.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/file_faults/fault_plan.hpp"

namespace leda::file_faults {

// What a call did. Operations and their fields: tests/campaigns/disk_model.py, which reads them.
struct Operation {
  std::string name = "none";
  std::vector<std::string> fields;
  std::span<const std::byte> data;
};

// The lock; from construction to destruction nobody else touches the watched files. Where another process has cut the
// power, the constructor does not return: this process is gone, too.
class LockedLog {
 public:
  explicit LockedLog(const FaultPlan& plan);
  ~LockedLog();
  LockedLog(const LockedLog&) = delete;
  LockedLog& operator=(const LockedLog&) = delete;

  void append(std::string_view call, std::string_view path, const Operation& operation) const;
  // From here on no process of the job does anything to the files.
  void cut_power() const;

 private:
  const FaultPlan& plan_;
};

}  // namespace leda::file_faults
