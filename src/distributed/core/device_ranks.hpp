// Several ranks, each with a GPU of its own: chosen, checked and connected. Two implementations, chosen when the
// program is linked: nccl_device_ranks.cpp, and no_nccl_device_ranks.cpp for programs without CUDA.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "distributed/core/communicator.hpp"

namespace leda::distributed {

constexpr double kSecondsForReportBeforeExit = 1.5;

struct DeviceOptions {
  double init_timeout_seconds = 120.0;  // for the ranks to find each other
  double timeout_seconds = 600.0;       // for collectives under way to make progress
  double abort_timeout_seconds = 3.0;   // for NCCL's abort to return, before the process ends all the same
  // Called once, from a thread of its own, before a rank ends its process because its collectives make no progress:
  // what can be said about the other ranks (HangDetector::report_before_exit). It has kSecondsForReportBeforeExit.
  std::function<std::string(const std::string& fault)> report_before_exit;
};

struct DeviceRanks {
  int device_index = 0;  // of this rank, as LibTorch counts
  // Tensors on the device travel over NCCL, tensors in host memory over `control`, which must outlive it. Its last
  // owner destroys it on all ranks after the same step.
  std::unique_ptr<Communicator> communicator;
};

// Collective. ErrorOnAllRanks(options) where the ranks and GPUs do not fit; Error(communication) where they do not
// connect.
DeviceRanks connect_devices(Communicator& control, const DeviceOptions& options);

}  // namespace leda::distributed
