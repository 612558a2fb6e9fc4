#include "tests/distributed/fake_gpu/collective.hpp"

#include <c10/util/BFloat16.h>
#include <fmt/format.h>

#include <cstring>
#include <utility>

namespace leda::test::fake_gpu {
namespace {

constexpr int kTag = 100;

const char* name_of(Kind kind) {
  constexpr const char* kNames[] = {"all_reduce", "all_gather", "broadcast", "exchange"};
  return kNames[static_cast<std::size_t>(kind)];
}

MPI_Datatype mpi_type(ncclDataType_t type) {
  switch (type) {
    case ncclFloat64:
      return MPI_DOUBLE;
    case ncclFloat32:
    case ncclBfloat16:  // summed as float
      return MPI_FLOAT;
    case ncclInt64:
      return MPI_INT64_T;
    default:
      return MPI_UINT8_T;
  }
}

std::vector<std::byte> widened(const std::byte* values, std::int64_t count, ncclDataType_t type) {
  if (type != ncclBfloat16) return {values, values + count * bytes_per_element(type)};
  std::vector<std::byte> wide(static_cast<std::size_t>(count) * sizeof(float));
  const auto* narrow = reinterpret_cast<const c10::BFloat16*>(values);
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = narrow[i];
    std::memcpy(wide.data() + static_cast<std::size_t>(i) * sizeof(float), &value, sizeof value);
  }
  return wide;
}

void store(const std::vector<std::byte>& values, std::byte* target, std::int64_t count, ncclDataType_t type) {
  if (type != ncclBfloat16) {
    std::memcpy(target, values.data(), static_cast<std::size_t>(count * bytes_per_element(type)));
    return;
  }
  auto* narrow = reinterpret_cast<c10::BFloat16*>(target);
  for (std::int64_t i = 0; i < count; ++i) {
    float value = 0.0f;
    std::memcpy(&value, values.data() + static_cast<std::size_t>(i) * sizeof(float), sizeof value);
    narrow[i] = value;
  }
}

// What must agree, by rank: six numbers, then bytes sent to each rank, then bytes expected from each.
constexpr const char* kCompared[] = {"number", "kind", "count", "type", "operation", "root"};

std::vector<std::int64_t> description(const Call& call, int index, int size) {
  std::vector<std::int64_t> numbers{
      index, static_cast<std::int64_t>(call.kind), call.count, call.type, call.operation, call.root};
  numbers.resize(numbers.size() + 2 * static_cast<std::size_t>(size), 0);
  for (const Message& message : call.messages) {
    const int column = message.is_sent ? message.peer : size + message.peer;
    numbers[std::size(kCompared) + static_cast<std::size_t>(column)] += message.num_bytes;
  }
  return numbers;
}

Bytes range(const std::byte* begin, std::int64_t num_bytes) { return {begin, begin + num_bytes}; }

}  // namespace

std::int64_t bytes_per_element(ncclDataType_t type) {
  switch (type) {
    case ncclFloat64:
    case ncclInt64:
      return 8;
    case ncclFloat32:
      return 4;
    case ncclBfloat16:
      return 2;
    default:
      return 1;
  }
}

std::string described(const Call& call) { return fmt::format("{} of {} elements", name_of(call.kind), call.count); }

std::vector<Bytes> bytes_read(const Call& call, const ncclComm& communicator) {
  std::vector<Bytes> bytes;
  for (const Message& message : call.messages) {
    if (message.is_sent) bytes.push_back(range(message.memory, message.num_bytes));
  }
  if (call.kind == Kind::exchange) return bytes;
  if (call.kind == Kind::broadcast && call.root != communicator.rank) return {};
  return {range(call.source, call.count * bytes_per_element(call.type))};
}

std::vector<Bytes> bytes_written(const Call& call, const ncclComm& communicator) {
  std::vector<Bytes> bytes;
  for (const Message& message : call.messages) {
    if (!message.is_sent) bytes.push_back(range(message.memory, message.num_bytes));
  }
  if (call.kind == Kind::exchange) return bytes;
  const int rows = call.kind == Kind::all_gather ? communicator.size : 1;
  return {range(call.target, rows * call.count * bytes_per_element(call.type))};
}

Collective::Collective(ncclComm& communicator, Call call, int index)
    : communicator_(communicator), call_(std::move(call)), index_(index) {}

bool Collective::try_run() {
  if (communicator_.life == ncclComm::Life::aborted) return true;
  if (phase_ == Phase::waiting) {
    if (is_held_up()) return false;
    mine_ = description(call_, index_, communicator_.size);
    all_.resize(mine_.size() * static_cast<std::size_t>(communicator_.size));
    const int count = static_cast<int>(mine_.size());
    requests_.resize(1);
    MPI_Iallgather(mine_.data(), count, MPI_INT64_T, all_.data(), count, MPI_INT64_T, DeviceModel::current().world(),
                   requests_.data());
    phase_ = Phase::comparing;
  }
  if (!are_requests_done()) return false;
  if (phase_ == Phase::comparing) {
    note_differences();
    if (!is_equal_) return true;
    start_moving();
    phase_ = Phase::moving;
    if (!are_requests_done()) return false;
  }
  deliver();
  return true;
}

bool Collective::is_held_up() {
  const Faults& faults = DeviceModel::current().options().faults;
  if (!has_started_) since_start_ = base::Stopwatch();
  has_started_ = true;
  if (index_ == faults.hanging_collective) return true;
  if (index_ == faults.failing_collective) {
    communicator_.state = faults.async_result;
    communicator_.last_error = "a fault of the test";
    return true;
  }
  return since_start_.seconds() < faults.link_seconds;
}

bool Collective::are_requests_done() {
  int are_done = 0;
  MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &are_done, MPI_STATUSES_IGNORE);
  return are_done != 0;
}

void Collective::note_differences() {
  DeviceModel& model = DeviceModel::current();
  const auto size = static_cast<std::size_t>(communicator_.size);
  const auto number = [&](std::size_t rank, std::size_t column) { return all_[rank * mine_.size() + column]; };
  for (std::size_t rank = 1; rank < size; ++rank) {
    for (std::size_t i = 0; i < std::size(kCompared); ++i) {
      if (number(rank, i) == number(0, i)) continue;
      is_equal_ = false;
      model.note_violation(fmt::format("collectives differ in {}: {} on rank 0, {} on rank {}", kCompared[i],
                                       number(0, i), number(rank, i), rank));
    }
  }
  for (std::size_t from = 0; from < size; ++from) {
    for (std::size_t to = 0; to < size; ++to) {
      const std::int64_t sent = number(from, std::size(kCompared) + to);
      const std::int64_t expected = number(to, std::size(kCompared) + size + from);
      if (sent == expected) continue;
      is_equal_ = false;
      model.note_violation(
          fmt::format("rank {} sends {} bytes to rank {}, which expects {}", from, sent, to, expected));
    }
  }
}

void Collective::start_moving() {
  const MPI_Comm world = DeviceModel::current().world();
  const MPI_Datatype type = mpi_type(call_.type);
  const int count = static_cast<int>(call_.count);
  const auto size = static_cast<std::int64_t>(communicator_.size);
  const std::int64_t element = bytes_per_element(call_.type);
  requests_.assign(1, MPI_REQUEST_NULL);
  switch (call_.kind) {
    case Kind::all_reduce:
      in_ = widened(call_.source, call_.count, call_.type);
      out_.resize(in_.size());
      MPI_Iallreduce(in_.data(), out_.data(), count, type, MPI_SUM, world, requests_.data());
      break;
    case Kind::all_gather:
      in_.assign(call_.source, call_.source + call_.count * element);
      out_.resize(static_cast<std::size_t>(size) * in_.size());
      MPI_Iallgather(in_.data(), static_cast<int>(in_.size()), MPI_BYTE, out_.data(), static_cast<int>(in_.size()),
                     MPI_BYTE, world, requests_.data());
      break;
    case Kind::broadcast:
      out_.assign(call_.source, call_.source + call_.count * element);
      MPI_Ibcast(out_.data(), static_cast<int>(out_.size()), MPI_BYTE, call_.root, world, requests_.data());
      break;
    case Kind::exchange:
      start_exchange();
      break;
  }
}

void Collective::start_exchange() {
  const MPI_Comm world = DeviceModel::current().world();
  std::size_t offset = 0;
  for (const Message& message : call_.messages) {
    if (!message.is_sent) offset += static_cast<std::size_t>(message.num_bytes);
  }
  out_.resize(offset);
  offset = 0;
  requests_.clear();
  for (const Message& message : call_.messages) {
    requests_.push_back(MPI_REQUEST_NULL);
    const int num_bytes = static_cast<int>(message.num_bytes);
    if (message.is_sent) {
      MPI_Isend(message.memory, num_bytes, MPI_BYTE, message.peer, kTag, world, &requests_.back());
    } else {
      MPI_Irecv(out_.data() + offset, num_bytes, MPI_BYTE, message.peer, kTag, world, &requests_.back());
      offset += static_cast<std::size_t>(message.num_bytes);
    }
  }
}

void Collective::deliver() {
  switch (call_.kind) {
    case Kind::all_reduce:
      store(out_, call_.target, call_.count, call_.type);
      break;
    case Kind::all_gather:
    case Kind::broadcast:
      std::memcpy(call_.target, out_.data(), out_.size());
      break;
    case Kind::exchange: {
      const std::byte* received = out_.data();
      for (const Message& message : call_.messages) {
        if (message.is_sent) continue;
        std::memcpy(message.memory, received, static_cast<std::size_t>(message.num_bytes));
        received += message.num_bytes;
      }
      break;
    }
  }
}

}  // namespace leda::test::fake_gpu
