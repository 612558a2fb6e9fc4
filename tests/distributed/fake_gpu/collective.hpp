// One collective on the fake's stream: compared with the other ranks' before any data moves, then done by MPI, without
// ever blocking, so that a rank that hangs leaves the others able to look around.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "tests/distributed/fake_gpu/device_model.hpp"

namespace leda::test::fake_gpu {

enum class Kind : std::int64_t { all_reduce, all_gather, broadcast, exchange };

struct Message {  // one send or receive of an exchange
  std::byte* memory = nullptr;
  std::int64_t num_bytes = 0;
  int peer = 0;
  bool is_sent = false;
};

struct Call {
  Kind kind = Kind::all_reduce;
  ncclDataType_t type = ncclUint8;
  ncclRedOp_t operation = ncclSum;
  std::int64_t count = 0;  // elements of what the NCCL function calls count
  int root = -1;
  const std::byte* source = nullptr;
  std::byte* target = nullptr;
  std::vector<Message> messages;
};

std::int64_t bytes_per_element(ncclDataType_t type);
std::string described(const Call& call);
std::vector<Bytes> bytes_read(const Call& call, const ncclComm& communicator);
std::vector<Bytes> bytes_written(const Call& call, const ncclComm& communicator);

class Collective {
 public:
  Collective(ncclComm& communicator, Call call, int index);
  ~Collective() { finish_or_leave(requests_, mine_, all_, in_, out_); }
  Collective(const Collective&) = delete;
  Collective& operator=(const Collective&) = delete;

  // One step further, if possible. True when done, or when the communicator was aborted.
  bool try_run();

 private:
  bool is_held_up();
  void note_differences();
  void start_moving();
  void start_exchange();
  void deliver();
  bool are_requests_done();

  enum class Phase { waiting, comparing, moving };

  ncclComm& communicator_;
  Call call_;
  int index_;
  Phase phase_ = Phase::waiting;
  bool has_started_ = false;
  base::Stopwatch since_start_;
  bool is_equal_ = true;
  std::vector<MPI_Request> requests_;
  std::vector<std::int64_t> mine_;
  std::vector<std::int64_t> all_;
  std::vector<std::byte> in_;
  std::vector<std::byte> out_;
};

}  // namespace leda::test::fake_gpu
