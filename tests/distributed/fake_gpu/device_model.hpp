// The model behind the fake: streams as queues with logical clocks, events, and the accesses to memory that are not
// yet known to be over. One lock for all of it; work on streams is done by one thread, the one that opened the model.
#pragma once

#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/distributed/fake_gpu/fake_gpu.hpp"

// What ncclComm_t points to.
struct ncclComm {
  int rank = 0;
  int size = 1;
  int device = 0;
  ncclUniqueId id = {};
  ncclResult_t state = ncclSuccess;
  std::string last_error;
  enum class Life { starting, running, finalized, aborted, destroyed } life = Life::starting;
  std::function<void()> next;  // what happens when polls_left reaches 0
  int polls_left = 0;
  bool has_met_others = false;  // all ranks were connected when the first collective was launched
};

namespace leda::test::fake_gpu {

// Of the message by which a rank says that its communicator is ready.
constexpr int kReadyTag = 77;

// By stream: how many of its operations have happened before. Missing = 0.
using Clock = std::map<int, std::int64_t>;
void merge(Clock& into, const Clock& other);

struct Operation {
  std::string name;
  std::function<bool()> try_run;  // true when done; called again until then
  bool is_collective = false;
};

// Shared: a wait that is still queued refers to the stream that it waits for.
struct Stream : std::enable_shared_from_this<Stream> {
  int number = 0;
  int device = 0;
  Clock clock;
  std::deque<Operation> queue;
  std::int64_t num_done = 0;
};

struct Event {
  int device = 0;
  Clock clock;
  std::shared_ptr<Stream> stream;  // of the latest record
  std::int64_t position = 0;       // that stream must have done so many operations
};

struct Bytes {
  const std::byte* begin = nullptr;
  const std::byte* end = nullptr;
  bool overlaps(const Bytes& other) const { return begin < other.end && other.begin < end; }
};

class DeviceModel {
 public:
  DeviceModel(MPI_Comm world, const MachineOptions& options);
  ~DeviceModel();

  // The open one. A call into the fake without one is a mistake of the test.
  static DeviceModel& current();

  std::recursive_mutex& mutex() { return mutex_; }
  const MachineOptions& options() const { return options_; }
  MPI_Comm world() const { return world_; }
  int rank() const { return rank_; }
  int size() const { return size_; }
  int num_devices() const { return options_.num_devices > 0 ? options_.num_devices : size_; }
  std::string bus_id(int device) const;

  void note_violation(const std::string& text);
  std::vector<std::string> violations();

  Stream* compute() { return compute_; }
  Stream* make_stream(int device);
  Stream* stream_of(cudaStream_t handle, const char* call);
  void destroy_stream(cudaStream_t handle);
  Event* make_event(int device);
  Event* event_of(cudaEvent_t handle, const char* call);
  void destroy_event(cudaEvent_t handle);

  // Puts an operation on the stream, with what it reads and writes; its place in the stream's order comes back.
  void launch(Stream& stream, Operation operation, const std::vector<Bytes>& reads, const std::vector<Bytes>& writes);
  void record(Event& event, Stream& stream);
  void wait(Stream& stream, const Event& event);
  // Does what can be done now; true when the stream is empty. Another thread than the model's own only looks.
  bool advance(Stream& stream);
  bool is_done(const Event& event);
  // What this host thread does from now on happens after everything on the stream, or before the event.
  void host_saw(const Clock& clock);

  std::vector<std::string> leftovers();
  // All that ever were; what a handle refers to outlives its destruction, so that later calls can be named.
  std::vector<std::unique_ptr<ncclComm>>& communicators() { return communicators_; }
  int num_collectives = 0;
  bool is_runner() const { return std::this_thread::get_id() == runner_; }
  bool has_aborted = false;
  int open_groups = 0;
  bool has_collectives_under_way() const;
  // This host thread has asked a stream or an event that lies behind all collectives so far, and found it done.
  bool host_has_seen_all_collectives();

 private:
  struct Access {
    Bytes bytes;
    int stream = 0;
    std::int64_t position = 0;
    bool is_write = false;
    std::string name;
  };
  void check_access(const Stream& stream, const std::string& name, const Bytes& bytes, bool is_write);
  bool advance_to(Stream& stream, std::int64_t num_done);

  MPI_Comm world_ = MPI_COMM_NULL;
  MachineOptions options_;
  int rank_ = 0;
  int size_ = 1;
  std::thread::id runner_ = std::this_thread::get_id();
  std::recursive_mutex mutex_;
  std::vector<std::string> violations_;
  std::vector<std::shared_ptr<Stream>> streams_;
  std::vector<std::unique_ptr<Event>> events_;
  std::vector<std::unique_ptr<ncclComm>> communicators_;
  Stream* compute_ = nullptr;
  int num_streams_ = 0;
  std::vector<Access> accesses_;
  std::map<std::thread::id, Clock> host_clocks_;
  Clock latest_collectives_;
};

// Completes requests whose memory is about to go, except while an exception passes: the other ranks may never answer,
// the job is about to end, and the memory is left to its end.
template <typename... Buffers>
void finish_or_leave(std::vector<MPI_Request>& requests, Buffers&... buffers) {
  if (std::uncaught_exceptions() == 0) {
    MPI_Waitall(static_cast<int>(requests.size()), requests.data(), MPI_STATUSES_IGNORE);
  } else {
    (static_cast<void>(new Buffers(std::move(buffers))), ...);
  }
}

// The device that the calling thread has chosen; -1 until then.
int& device_of_thread();

}  // namespace leda::test::fake_gpu
