// A CUDA runtime and an NCCL for tests without a GPU, over host memory and MPI processes: the functions that
// src/distributed calls, linked as hidden symbols of a static library, so that LibTorch keeps its own.
//
// Streams are queues. Nothing on them happens before the host waits for a stream or asks for it, so a missing wait
// shows as a result that is not there; and every read and write is checked, when it is put on a stream, to lie behind
// the accesses that it must follow. Ranks compare each collective before any data moves. What is wrong is noted as a
// violation, which the test must find to be none. docs/methods/gpu_communication.md says what this cannot show.
#pragma once

#include <cuda_runtime_api.h>
#include <mpi.h>
#include <nccl.h>

#include <functional>
#include <string>
#include <vector>

namespace leda::test::fake_gpu {

// What goes wrong on this rank. Collectives count from 0 in the order of their launch.
struct Faults {
  int calls_in_progress = 0;               // polls until a call has left ncclInProgress
  int init_polls = 1;                      // the same for the communicator; negative: for ever
  ncclResult_t init_result = ncclSuccess;  // what the communicator's initialisation ends with
  int failing_call = -1;                   // this collective's call returns call_result
  ncclResult_t call_result = ncclSystemError;
  int failing_collective = -1;  // this collective never ends; the communicator's state becomes async_result
  ncclResult_t async_result = ncclRemoteError;
  int hanging_collective = -1;  // this rank never gets to this collective
  double link_seconds = 0.0;    // each collective takes that long
  bool abort_hangs = false;
  bool finalize_hangs = false;
};

struct MachineOptions {
  int num_devices = 0;         // visible to this rank; 0: as many as ranks
  bool is_one_device = false;  // every index is the same physical device
  Faults faults;
};

// The devices, as long as it lives; one at a time. Ranks are those of `world`. Collective.
class Machine {
 public:
  Machine(MPI_Comm world, const MachineOptions& options);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // The stream that stands for LibTorch's: what compute_stream() returns.
  cudaStream_t compute_stream() const;
  // Puts an operation of the test's own on the compute stream, which reads or writes these bytes.
  void launch_read(const void* begin, std::size_t num_bytes);
  void launch_write(void* begin, std::size_t num_bytes, std::function<void()> kernel);

  // What was done wrong so far; then streams, events, communicators and groups that were left behind.
  std::vector<std::string> violations() const;
  std::vector<std::string> leftovers() const;
  // Collectives launched by this rank.
  int num_collectives() const;
};

}  // namespace leda::test::fake_gpu
