#include "tests/distributed/fake_gpu/device_model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace leda::test::fake_gpu {
namespace {

// A C interface has no other place for its state.
DeviceModel*& open_model() {
  static DeviceModel* model = nullptr;
  return model;
}

bool has_collective(const Stream& stream) {
  return std::any_of(stream.queue.begin(), stream.queue.end(), [](const auto& o) { return o.is_collective; });
}

}  // namespace

int& device_of_thread() {
  thread_local int device = -1;
  return device;
}

void merge(Clock& into, const Clock& other) {
  for (const auto& [stream, position] : other) into[stream] = std::max(into[stream], position);
}

DeviceModel::DeviceModel(MPI_Comm world, const MachineOptions& options) : options_(options) {
  if (open_model() != nullptr) throw std::logic_error("a second fake machine");
  MPI_Comm_dup(world, &world_);
  MPI_Comm_rank(world_, &rank_);
  MPI_Comm_size(world_, &size_);
  device_of_thread() = -1;
  compute_ = make_stream(-1);
  open_model() = this;
}

DeviceModel::~DeviceModel() {
  open_model() = nullptr;
  streams_.clear();
  communicators_.clear();
  if (std::uncaught_exceptions() > 0) return;  // the others may be anywhere
  MPI_Barrier(world_);
  for (int is_there = 1; is_there != 0;) {  // messages that nobody asked for
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, kReadyTag, world_, &is_there, &status);
    char nothing = 0;
    if (is_there != 0) MPI_Recv(&nothing, 1, MPI_CHAR, status.MPI_SOURCE, kReadyTag, world_, MPI_STATUS_IGNORE);
  }
  MPI_Comm_free(&world_);
}

DeviceModel& DeviceModel::current() {
  if (open_model() == nullptr) throw std::logic_error("CUDA or NCCL called without a fake machine");
  return *open_model();
}

std::string DeviceModel::bus_id(int device) const {
  return fmt::format("0000:{:02X}:00.0", options_.is_one_device ? 1 : device + 1);
}

void DeviceModel::note_violation(const std::string& text) {
  const std::scoped_lock lock(mutex_);
  violations_.push_back(fmt::format("rank {}: {}", rank_, text));
}

std::vector<std::string> DeviceModel::violations() {
  const std::scoped_lock lock(mutex_);
  return violations_;
}

Stream* DeviceModel::make_stream(int device) {
  const std::scoped_lock lock(mutex_);
  streams_.push_back(std::make_shared<Stream>());
  streams_.back()->number = num_streams_++;
  streams_.back()->device = device;
  return streams_.back().get();
}

Stream* DeviceModel::stream_of(cudaStream_t handle, const char* call) {
  for (const auto& stream : streams_) {
    if (reinterpret_cast<cudaStream_t>(stream.get()) == handle) return stream.get();
  }
  note_violation(fmt::format("{} on a stream that does not exist", call));
  return nullptr;
}

void DeviceModel::destroy_stream(cudaStream_t handle) {
  const auto is_it = [&](const auto& stream) { return reinterpret_cast<cudaStream_t>(stream.get()) == handle; };
  const auto found = std::find_if(streams_.begin(), streams_.end(), is_it);
  if (found == streams_.end()) return note_violation("cudaStreamDestroy of a stream that does not exist");
  if (has_collective(**found) && !has_aborted) note_violation("cudaStreamDestroy of a stream that still has work");
  streams_.erase(found);
}

Event* DeviceModel::make_event(int device) {
  events_.push_back(std::make_unique<Event>());
  events_.back()->device = device;
  return events_.back().get();
}

Event* DeviceModel::event_of(cudaEvent_t handle, const char* call) {
  for (const auto& event : events_) {
    if (reinterpret_cast<cudaEvent_t>(event.get()) == handle) return event.get();
  }
  note_violation(fmt::format("{} on an event that does not exist", call));
  return nullptr;
}

void DeviceModel::destroy_event(cudaEvent_t handle) {
  const auto is_it = [&](const auto& event) { return reinterpret_cast<cudaEvent_t>(event.get()) == handle; };
  if (std::erase_if(events_, is_it) == 0) note_violation("cudaEventDestroy of an event that does not exist");
}

// An access must follow every earlier write of the same bytes, and a write every earlier read too.
void DeviceModel::check_access(const Stream& stream, const std::string& name, const Bytes& bytes, bool is_write) {
  for (const Access& earlier : accesses_) {
    if (!earlier.bytes.overlaps(bytes) || !(is_write || earlier.is_write)) continue;
    const auto known = stream.clock.find(earlier.stream);
    if (known != stream.clock.end() && known->second >= earlier.position) continue;
    note_violation(fmt::format("{} {} a buffer without waiting for {}, which {} it", name,
                               is_write ? "writes" : "reads", earlier.name, earlier.is_write ? "writes" : "reads"));
    return;
  }
}

void DeviceModel::launch(Stream& stream, Operation operation, const std::vector<Bytes>& reads,
                         const std::vector<Bytes>& writes) {
  merge(stream.clock, host_clocks_[std::this_thread::get_id()]);
  const std::int64_t position = ++stream.clock[stream.number];
  for (const Bytes& bytes : reads) check_access(stream, operation.name, bytes, false);
  for (const Bytes& bytes : writes) check_access(stream, operation.name, bytes, true);
  for (const Bytes& bytes : writes) {  // whoever follows this write follows what lies before it
    std::erase_if(accesses_, [&](const Access& a) { return bytes.begin <= a.bytes.begin && a.bytes.end <= bytes.end; });
  }
  for (const Bytes& bytes : reads) accesses_.push_back({bytes, stream.number, position, false, operation.name});
  for (const Bytes& bytes : writes) accesses_.push_back({bytes, stream.number, position, true, operation.name});
  if (operation.is_collective) latest_collectives_[stream.number] = position;
  stream.queue.push_back(std::move(operation));
}

void DeviceModel::record(Event& event, Stream& stream) {
  launch(stream, {"an event", [] { return true; }}, {}, {});
  event.clock = stream.clock;
  event.stream = stream.shared_from_this();
  event.position = stream.num_done + static_cast<std::int64_t>(stream.queue.size());
}

void DeviceModel::wait(Stream& stream, const Event& event) {
  if (!event.stream) return;  // never recorded: no wait, as in CUDA
  launch(stream,
         {"a wait", [this, other = event.stream, position = event.position] { return advance_to(*other, position); }},
         {}, {});
  merge(stream.clock, event.clock);
}

bool DeviceModel::advance_to(Stream& stream, std::int64_t num_done) {
  while (stream.num_done < num_done && !stream.queue.empty()) {
    if (!stream.queue.front().try_run()) return false;
    stream.queue.pop_front();
    ++stream.num_done;
  }
  return true;
}

bool DeviceModel::advance(Stream& stream) {
  if (!is_runner()) return stream.queue.empty();
  return advance_to(stream, stream.num_done + static_cast<std::int64_t>(stream.queue.size()));
}

bool DeviceModel::is_done(const Event& event) {
  if (!event.stream) return true;
  if (is_runner()) return advance_to(*event.stream, event.position);
  return event.stream->num_done >= event.position;
}

void DeviceModel::host_saw(const Clock& clock) { merge(host_clocks_[std::this_thread::get_id()], clock); }

bool DeviceModel::has_collectives_under_way() const {
  return std::any_of(streams_.begin(), streams_.end(), [](const auto& stream) { return has_collective(*stream); });
}

bool DeviceModel::host_has_seen_all_collectives() {
  Clock& seen = host_clocks_[std::this_thread::get_id()];
  return std::all_of(latest_collectives_.begin(), latest_collectives_.end(),
                     [&](const auto& latest) { return seen[latest.first] >= latest.second; });
}

std::vector<std::string> DeviceModel::leftovers() {
  const std::scoped_lock lock(mutex_);
  std::vector<std::string> left;
  const auto note = [&](std::size_t count, const char* what) {
    if (count > 0) left.push_back(fmt::format("rank {}: {} {} left behind", rank_, count, what));
  };
  note(streams_.size() - 1, "streams");
  note(events_.size(), "events");
  const auto is_alive = [](const auto& communicator) { return communicator->life < ncclComm::Life::aborted; };
  note(static_cast<std::size_t>(std::count_if(communicators_.begin(), communicators_.end(), is_alive)),
       "communicators");
  note(static_cast<std::size_t>(open_groups), "groups");
  return left;
}

// ---- what the tests call

namespace {

Bytes bytes_at(const void* begin, std::size_t num_bytes) {
  const auto* first = static_cast<const std::byte*>(begin);
  return {first, first + num_bytes};
}

}  // namespace

Machine::Machine(MPI_Comm world, const MachineOptions& options) { new DeviceModel(world, options); }

Machine::~Machine() { delete &DeviceModel::current(); }

cudaStream_t Machine::compute_stream() const {
  return reinterpret_cast<cudaStream_t>(DeviceModel::current().compute());
}

void Machine::launch_read(const void* begin, std::size_t num_bytes) {
  DeviceModel& model = DeviceModel::current();
  const std::scoped_lock lock(model.mutex());
  model.launch(*model.compute(), {"the compute stream", [] { return true; }}, {bytes_at(begin, num_bytes)}, {});
}

void Machine::launch_write(void* begin, std::size_t num_bytes, std::function<void()> kernel) {
  DeviceModel& model = DeviceModel::current();
  const std::scoped_lock lock(model.mutex());
  model.launch(*model.compute(), {"the compute stream", [kernel = std::move(kernel)] { return kernel(), true; }}, {},
               {bytes_at(begin, num_bytes)});
}

std::vector<std::string> Machine::violations() const { return DeviceModel::current().violations(); }
std::vector<std::string> Machine::leftovers() const { return DeviceModel::current().leftovers(); }
int Machine::num_collectives() const { return DeviceModel::current().num_collectives; }

}  // namespace leda::test::fake_gpu
