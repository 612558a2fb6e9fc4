// The NCCL functions that src/distributed calls, over the device model.
#include <fmt/format.h>
#include <nccl.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "tests/distributed/fake_gpu/collective.hpp"
#include "tests/distributed/fake_gpu/device_model.hpp"

namespace {

using namespace leda::test::fake_gpu;

using Lock = std::scoped_lock<std::recursive_mutex>;
using Life = ncclComm::Life;

constexpr int kForEver = -1;

struct Group {
  int depth = 0;
  ncclComm_t communicator = nullptr;
  cudaStream_t stream = nullptr;
  std::vector<Message> messages;
};

Group& group_of_thread() {
  thread_local Group group;
  return group;
}

bool is_usable(ncclComm_t communicator, const char* call) {
  DeviceModel& model = DeviceModel::current();
  for (const auto& known : model.communicators()) {
    if (known.get() != communicator) continue;
    if (known->life < Life::aborted) return true;
    model.note_violation(
        fmt::format("{} after the communicator was {}", call, known->life == Life::aborted ? "aborted" : "destroyed"));
    return false;
  }
  model.note_violation(fmt::format("{} on a communicator that does not exist", call));
  return false;
}

// Leaves the communicator in progress until it was asked `polls` times; then `next` happens.
ncclResult_t in_progress(ncclComm& communicator, int polls, std::function<void()> next) {
  communicator.state = ncclInProgress;
  communicator.polls_left = polls;
  communicator.next = std::move(next);
  return ncclInProgress;
}

// --- the communicator's start -----------------------------------------------------------------------------------

struct Introduction {
  char id[NCCL_UNIQUE_ID_BYTES];
  char bus_id[32];
  int device_was_set;
};

struct Meeting {
  Meeting() = default;
  Meeting(const Meeting&) = delete;
  Meeting& operator=(const Meeting&) = delete;
  ~Meeting() { finish_or_leave(request, mine, all); }

  std::vector<Introduction> mine = std::vector<Introduction>(1);
  std::vector<Introduction> all;
  std::vector<MPI_Request> request = std::vector<MPI_Request>(1, MPI_REQUEST_NULL);
};

ncclResult_t verdict(const Meeting& meeting, ncclComm& communicator) {
  DeviceModel& model = DeviceModel::current();
  if (meeting.mine[0].device_was_set == 0) model.note_violation("a communicator made before a device was chosen");
  for (std::size_t a = 0; a < meeting.all.size(); ++a) {
    if (std::memcmp(meeting.all[a].id, meeting.mine[0].id, sizeof meeting.mine[0].id) != 0) {
      model.note_violation(fmt::format("rank {} has another communicator id", a));
      return ncclInvalidArgument;
    }
    for (std::size_t b = 0; b < a; ++b) {
      if (std::strcmp(meeting.all[a].bus_id, meeting.all[b].bus_id) != 0) continue;
      communicator.last_error =
          fmt::format("Duplicate GPU detected : rank {} and rank {} both on {}", b, a, meeting.all[a].bus_id);
      model.note_violation(communicator.last_error);
      return ncclInvalidUsage;
    }
  }
  return model.options().faults.init_result;
}

// Tells the others that this rank has seen its communicator ready.
void announce_ready(const ncclComm& communicator) {
  static const char nothing = 0;
  for (int peer = 0; peer < communicator.size; ++peer) {
    if (peer == communicator.rank) continue;
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Isend(&nothing, 1, MPI_CHAR, peer, kReadyTag, DeviceModel::current().world(), &request);
    MPI_Request_free(&request);
  }
}

void end_of_start(ncclComm& communicator, ncclResult_t result) {
  communicator.state = result;
  if (result != ncclSuccess) return;
  communicator.life = Life::running;
  announce_ready(communicator);
}

void meet(ncclComm& communicator, const std::shared_ptr<Meeting>& meeting) {
  int is_complete = 0;
  MPI_Test(meeting->request.data(), &is_complete, MPI_STATUS_IGNORE);
  if (is_complete == 0) {
    in_progress(communicator, 1, [&communicator, meeting] { meet(communicator, meeting); });
    return;
  }
  const ncclResult_t result = verdict(*meeting, communicator);
  const int polls = DeviceModel::current().options().faults.init_polls;
  in_progress(communicator, polls, [&communicator, result] { end_of_start(communicator, result); });
}

// A message that was sent before a barrier that both ranks have left is there; MPI may need a few looks to see it.
bool has_announced(int peer) {
  const MPI_Comm world = DeviceModel::current().world();
  for (int look = 0; look < 200; ++look) {
    int is_there = 0;
    MPI_Iprobe(peer, kReadyTag, world, &is_there, MPI_STATUS_IGNORE);
    if (is_there != 0) {
      char nothing = 0;
      MPI_Recv(&nothing, 1, MPI_CHAR, peer, kReadyTag, world, MPI_STATUS_IGNORE);
      return true;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return false;
}

void require_connected_ranks(ncclComm& communicator) {
  if (std::exchange(communicator.has_met_others, true)) return;
  for (int peer = 0; peer < communicator.size; ++peer) {
    if (peer == communicator.rank || has_announced(peer)) continue;
    DeviceModel::current().note_violation(fmt::format("a collective before rank {} was connected", peer));
  }
}

// --- collectives ------------------------------------------------------------------------------------------------

ncclResult_t launch(ncclComm& communicator, Stream& stream, Call call) {
  DeviceModel& model = DeviceModel::current();
  const Faults& faults = model.options().faults;
  const int index = model.num_collectives++;
  if (index == faults.failing_call) {
    communicator.last_error = "a fault of the test";
    return faults.call_result;
  }
  require_connected_ranks(communicator);
  auto put_on_stream = [&communicator, &stream, call = std::move(call), index] {
    const auto reads = bytes_read(call, communicator);
    const auto writes = bytes_written(call, communicator);
    const std::string name = fmt::format("collective {} ({})", index, described(call));
    auto collective = std::make_shared<Collective>(communicator, call, index);
    DeviceModel::current().launch(stream, {name, [collective] { return collective->try_run(); }, true}, reads, writes);
  };
  if (faults.calls_in_progress > 0) {
    return in_progress(communicator, faults.calls_in_progress, [&communicator, put_on_stream] {
      communicator.state = ncclSuccess;
      put_on_stream();
    });
  }
  put_on_stream();
  return ncclSuccess;
}

ncclResult_t call_collective(ncclComm_t communicator, cudaStream_t stream_handle, Call call, const char* name) {
  DeviceModel& model = DeviceModel::current();
  const Lock lock(model.mutex());
  if (!is_usable(communicator, name)) return ncclInvalidArgument;
  Stream* stream = model.stream_of(stream_handle, name);
  if (stream == nullptr) return ncclInvalidArgument;
  if (communicator->life != Life::running || communicator->state == ncclInProgress) {
    model.note_violation(fmt::format("{} while the communicator is at something else", name));
    return ncclInvalidUsage;
  }
  if (communicator->state != ncclSuccess) return communicator->state;
  if (device_of_thread() != communicator->device) {
    model.note_violation(fmt::format("{} from a thread whose device is {}", name, device_of_thread()));
  }
  if (group_of_thread().depth > 0) model.note_violation(fmt::format("{} inside a group of sends and receives", name));
  return launch(*communicator, *stream, std::move(call));
}

ncclResult_t note_message(const Message& message, ncclComm_t communicator, cudaStream_t stream, const char* name) {
  DeviceModel& model = DeviceModel::current();
  const Lock lock(model.mutex());
  if (!is_usable(communicator, name)) return ncclInvalidArgument;
  Group& group = group_of_thread();
  if (group.depth == 0) {
    model.note_violation(fmt::format("{} outside a group: two ranks would wait for each other", name));
    return ncclInvalidUsage;
  }
  group.communicator = communicator;
  group.stream = stream;
  group.messages.push_back(message);
  return ncclSuccess;
}

}  // namespace

extern "C" {

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static std::int64_t num_ids = 0;
  std::memset(id, 0, sizeof *id);
  ++num_ids;
  std::memcpy(id->internal, &num_ids, sizeof num_ids);
  id->internal[NCCL_UNIQUE_ID_BYTES - 1] = 'x';
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* result, int size, ncclUniqueId id, int rank, ncclConfig_t* config) {
  DeviceModel& model = DeviceModel::current();
  const Lock lock(model.mutex());
  if (config == nullptr || config->blocking != 0) model.note_violation("a communicator that may block for ever");
  model.communicators().push_back(std::make_unique<ncclComm>());
  ncclComm& communicator = *model.communicators().back();
  communicator.rank = rank;
  communicator.size = size;
  communicator.device = std::max(0, device_of_thread());
  *result = &communicator;
  auto meeting = std::make_shared<Meeting>();
  std::memcpy(meeting->mine[0].id, id.internal, sizeof meeting->mine[0].id);
  std::strncpy(meeting->mine[0].bus_id, model.bus_id(communicator.device).c_str(), sizeof meeting->mine[0].bus_id - 1);
  meeting->mine[0].device_was_set = device_of_thread() >= 0 ? 1 : 0;
  meeting->all.resize(static_cast<std::size_t>(size));
  MPI_Iallgather(meeting->mine.data(), sizeof(Introduction), MPI_BYTE, meeting->all.data(), sizeof(Introduction),
                 MPI_BYTE, model.world(), meeting->request.data());
  return in_progress(communicator, 1, [&communicator, meeting] { meet(communicator, meeting); });
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t communicator, ncclResult_t* state) {
  DeviceModel& model = DeviceModel::current();
  const Lock lock(model.mutex());
  if (!is_usable(communicator, "ncclCommGetAsyncError")) return ncclInvalidArgument;
  *state = communicator->state;
  if (!model.is_runner() || communicator->state != ncclInProgress || communicator->polls_left == kForEver) {
    return ncclSuccess;
  }
  if (--communicator->polls_left > 0) return ncclSuccess;
  const auto next = std::exchange(communicator->next, nullptr);
  next();
  *state = communicator->state;
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t communicator) {
  DeviceModel& model = DeviceModel::current();
  const Lock lock(model.mutex());
  if (!is_usable(communicator, "ncclCommFinalize")) return ncclInvalidArgument;
  // Done without the host's knowing it is luck: a real device would have been asked to end what may still run.
  if (model.has_collectives_under_way() || !model.host_has_seen_all_collectives()) {
    model.note_violation("ncclCommFinalize while collectives are under way");
  }
  const int polls = model.options().faults.finalize_hangs ? kForEver : 2;
  return in_progress(*communicator, polls, [communicator] {
    communicator->state = ncclSuccess;
    communicator->life = Life::finalized;
  });
}

ncclResult_t ncclCommDestroy(ncclComm_t communicator) {
  DeviceModel& model = DeviceModel::current();
  const Lock lock(model.mutex());
  if (!is_usable(communicator, "ncclCommDestroy")) return ncclInvalidArgument;
  if (communicator->life != Life::finalized) model.note_violation("ncclCommDestroy before ncclCommFinalize was over");
  communicator->life = Life::destroyed;
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t communicator) {
  DeviceModel& model = DeviceModel::current();
  while (model.options().faults.abort_hangs) std::this_thread::sleep_for(std::chrono::hours(1));
  const Lock lock(model.mutex());
  if (!is_usable(communicator, "ncclCommAbort")) return ncclInvalidArgument;
  communicator->life = Life::aborted;
  model.has_aborted = true;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclSystemError:
      return "unhandled system error";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclInProgress:
      return "NCCL operation in progress";
    default:
      return "error of the fake NCCL";
  }
}

const char* ncclGetLastError(ncclComm_t communicator) {
  return communicator == nullptr ? "" : communicator->last_error.c_str();
}

ncclResult_t ncclGroupStart() {
  ++group_of_thread().depth;
  ++DeviceModel::current().open_groups;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  DeviceModel& model = DeviceModel::current();
  Group& group = group_of_thread();
  if (group.depth == 0) {
    model.note_violation("ncclGroupEnd without ncclGroupStart");
    return ncclInvalidUsage;
  }
  --model.open_groups;
  if (--group.depth > 0 || group.messages.empty()) return ncclSuccess;
  Call call{.kind = Kind::exchange};
  call.messages = std::exchange(group.messages, {});
  return call_collective(group.communicator, group.stream, std::move(call), "ncclGroupEnd");
}

ncclResult_t ncclSend(const void* memory, size_t count, ncclDataType_t type, int peer, ncclComm_t communicator,
                      cudaStream_t stream) {
  auto* bytes = static_cast<std::byte*>(const_cast<void*>(memory));
  const auto num_bytes = static_cast<std::int64_t>(count) * bytes_per_element(type);
  return note_message({bytes, num_bytes, peer, /*is_sent=*/true}, communicator, stream, "ncclSend");
}

ncclResult_t ncclRecv(void* memory, size_t count, ncclDataType_t type, int peer, ncclComm_t communicator,
                      cudaStream_t stream) {
  auto* bytes = static_cast<std::byte*>(memory);
  const auto num_bytes = static_cast<std::int64_t>(count) * bytes_per_element(type);
  return note_message({bytes, num_bytes, peer, /*is_sent=*/false}, communicator, stream, "ncclRecv");
}

ncclResult_t ncclAllReduce(const void* source, void* target, size_t count, ncclDataType_t type, ncclRedOp_t operation,
                           ncclComm_t communicator, cudaStream_t stream) {
  Call call{.kind = Kind::all_reduce, .type = type, .operation = operation};
  call.count = static_cast<std::int64_t>(count);
  call.source = static_cast<const std::byte*>(source);
  call.target = static_cast<std::byte*>(target);
  return call_collective(communicator, stream, std::move(call), "ncclAllReduce");
}

ncclResult_t ncclAllGather(const void* source, void* target, size_t count, ncclDataType_t type, ncclComm_t communicator,
                           cudaStream_t stream) {
  Call call{.kind = Kind::all_gather, .type = type};
  call.count = static_cast<std::int64_t>(count);
  call.source = static_cast<const std::byte*>(source);
  call.target = static_cast<std::byte*>(target);
  return call_collective(communicator, stream, std::move(call), "ncclAllGather");
}

ncclResult_t ncclBroadcast(const void* source, void* target, size_t count, ncclDataType_t type, int root,
                           ncclComm_t communicator, cudaStream_t stream) {
  Call call{.kind = Kind::broadcast, .type = type, .root = root};
  call.count = static_cast<std::int64_t>(count);
  call.source = static_cast<const std::byte*>(source);
  call.target = static_cast<std::byte*>(target);
  return call_collective(communicator, stream, std::move(call), "ncclBroadcast");
}

}  // extern "C"
