// What each rank knows about how it was started, gathered so that every rank sees all of it. judge_launch
// (launch_checks.hpp) says what is wrong with it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "distributed/core/communicator.hpp"

namespace leda::distributed {

// The GPU that this rank is going to use; nothing of it where it computes on the CPU.
struct DeviceFacts {
  bool is_needed = false;
  int num_visible = 0;  // to this rank
  std::string bus_id;   // "0000:3b:00.0", empty if unknown
};

struct LaunchFacts {
  int rank = 0;
  int local_size = 1;  // ranks on this host, as MPI counts them
  std::string host;
  std::int64_t process = 0;
  int world_size = 1;
  int announced_size = 0;    // by the launcher, 0 = it says nothing
  std::string announced_by;  // its variable
  DeviceFacts device;
  std::string build;  // of program and LibTorch; equal for equal files
  bool sees_run_folder = true;
  double clock_offset_seconds = 0.0;  // of this rank's system clock, against rank 0's
  int num_threads = 1;                // of tensor operations
  std::vector<int> cores;             // that the rank may run on
  std::int64_t shm_free_bytes = -1;   // in /dev/shm, -1 = unknown
};

struct LaunchInputs {
  std::filesystem::path run_folder;  // exists for rank 0, which writes a token there for the others to find
  int num_threads = 1;
  DeviceFacts device;
};

// By rank. Collective; takes a fraction of a second, up to three where a rank does not see the run folder.
// ErrorOnAllRanks(storage) where rank 0 cannot write into the run folder.
std::vector<LaunchFacts> gather_launch_facts(Communicator& communicator, const LaunchInputs& inputs);

}  // namespace leda::distributed
