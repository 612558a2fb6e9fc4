// Where a job computes: on CPUs, on one GPU, or with several ranks on a GPU each. Lives as long as the job; ends on
// every rank after the same step.
#pragma once

#include <c10/core/Device.h>

#include <memory>

#include "distributed/core/communicator.hpp"
#include "distributed/core/device_ranks.hpp"
#include "training/options/job_options.hpp"

namespace leda::training {

class DevicePlacement {
 public:
  // `wanted`: automatic (GPUs if every rank sees some), cpu, cuda. ErrorOnAllRanks(options) where there is no GPU for a
  // rank or only some ranks see one. Collective; `control` outlives it.
  DevicePlacement(DeviceChoice wanted, distributed::Communicator& control, const distributed::DeviceOptions& options);

  at::Device device() const { return device_; }
  // Carries tensors on that device and in host memory.
  distributed::Communicator& communicator() const { return across_devices_ ? *across_devices_ : control_; }

 private:
  distributed::Communicator& control_;
  at::Device device_ = at::kCPU;
  std::unique_ptr<distributed::Communicator> across_devices_;
};

}  // namespace leda::training
