// Watches an NCCL communicator and its stream from a thread of its own, because nothing in a step waits for the device:
// errors that NCCL only reports when asked, errors of the device, and collectives that make no progress. What it finds
// ends this process, and with it the job: message, abort on yet another thread, exit with the communication code after
// a bounded wait. Communicator and stream outlive it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.hpp"
#include "distributed/core/device_ranks.hpp"
#include "distributed/nccl/cuda_handles.hpp"

namespace leda::distributed {

// lint: what it watches, what its thread has seen, and what other threads tell it under one lock
class NcclWatchdog {
 public:
  // Watches `stream` of the calling thread's device, device_index.
  NcclWatchdog(ncclComm_t communicator, cudaStream_t stream, int device_index, int rank, DeviceOptions options);
  // Stops watching.
  ~NcclWatchdog();
  NcclWatchdog(const NcclWatchdog&) = delete;
  NcclWatchdog& operator=(const NcclWatchdog&) = delete;

  // A collective of this name has been put on the stream. Any thread.
  void note_collective(const std::string& name);
  // Says `fault` and what is known about the ranks, tries to abort the communicator, and ends the process. Any thread;
  // the first one counts.
  [[noreturn]] void end_process(const std::string& fault, const std::string& about_ranks = {});

 private:
  void watch();
  void check_nccl_state();
  void check_progress();
  bool has_new_collectives();
  std::string last_collective();
  std::string report_before_exit(const std::string& fault);

  ncclComm_t communicator_;
  cudaStream_t stream_;
  int device_index_;
  int rank_;
  DeviceOptions options_;
  base::Stopwatch clock_;
  CudaEvent probe_;  // recorded behind everything on the stream; done when that is done
  bool is_probing_ = false;
  double probing_since_ = 0.0;
  std::int64_t num_probed_ = 0;

  std::atomic<bool> is_ending_ = false;
  std::mutex mutex_;
  std::condition_variable stopping_;
  bool is_stopping_ = false;
  std::int64_t num_collectives_ = 0;
  std::string last_name_;
  std::thread thread_;
};

}  // namespace leda::distributed
