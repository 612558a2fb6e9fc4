#include "distributed/nccl/nccl_watchdog.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

#include "base/error.hpp"
#include "distributed/core/bounded_call.hpp"
#include "distributed/nccl/nccl_bootstrap.hpp"

namespace leda::distributed {
namespace {

constexpr std::chrono::milliseconds kPollEvery(20);

}  // namespace

NcclWatchdog::NcclWatchdog(ncclComm_t communicator, cudaStream_t stream, int device_index, int rank,
                           DeviceOptions options)
    : communicator_(communicator),
      stream_(stream),
      device_index_(device_index),
      rank_(rank),
      options_(std::move(options)),
      thread_([this] { watch(); }) {}

NcclWatchdog::~NcclWatchdog() {
  {
    const std::scoped_lock lock(mutex_);
    is_stopping_ = true;
  }
  stopping_.notify_all();
  thread_.join();
}

void NcclWatchdog::note_collective(const std::string& name) {
  const std::scoped_lock lock(mutex_);
  last_name_ = name;
  ++num_collectives_;
}

std::string NcclWatchdog::last_collective() {
  const std::scoped_lock lock(mutex_);
  if (num_collectives_ == 0) return "no collective was started yet";
  return fmt::format("last started: collective {}, {}", num_collectives_, last_name_);
}

void NcclWatchdog::watch() {
  cudaSetDevice(device_index_);
  std::unique_lock lock(mutex_);
  while (!stopping_.wait_for(lock, kPollEvery, [this] { return is_stopping_; })) {
    lock.unlock();
    check_nccl_state();
    check_progress();
    lock.lock();
  }
}

void NcclWatchdog::check_nccl_state() {
  ncclResult_t state = ncclSuccess;
  const ncclResult_t asked = ncclCommGetAsyncError(communicator_, &state);
  if (asked != ncclSuccess) state = asked;
  if (state == ncclSuccess || state == ncclInProgress) return;
  end_process("NCCL reports: " + nccl_text(state, communicator_));
}

void NcclWatchdog::check_progress() {
  if (!is_probing_) {
    if (!has_new_collectives()) return;
    probing_since_ = clock_.seconds();
    is_probing_ = true;
    const cudaError_t recorded = cudaEventRecord(probe_.get(), stream_);
    if (recorded != cudaSuccess) end_process(fmt::format("the device reports: {}", cudaGetErrorString(recorded)));
    return;
  }
  const cudaError_t state = cudaEventQuery(probe_.get());
  if (state == cudaSuccess) {
    is_probing_ = false;
  } else if (state != cudaErrorNotReady) {
    end_process(fmt::format("the device reports: {}", cudaGetErrorString(state)));
  } else if (clock_.seconds() - probing_since_ > options_.timeout_seconds) {
    const std::string fault =
        fmt::format("collectives on the GPU have made no progress for {} s", options_.timeout_seconds);
    end_process(fault, report_before_exit(fault));
  }
}

// Bounded: it is about to end the process, and asks a file system that may itself stand still.
std::string NcclWatchdog::report_before_exit(const std::string& fault) {
  if (!options_.report_before_exit) return {};
  const auto text = std::make_shared<std::string>();
  const auto ask = [text, fault, ask = options_.report_before_exit] { *text = ask(fault); };
  return completes_within(kSecondsForReportBeforeExit, ask) ? *text : std::string();
}

// Since the last probe, which this call counts as made.
bool NcclWatchdog::has_new_collectives() {
  const std::scoped_lock lock(mutex_);
  return std::exchange(num_probed_, num_collectives_) != num_collectives_;
}

void NcclWatchdog::end_process(const std::string& fault, const std::string& about_ranks) {
  if (is_ending_.exchange(true)) {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));  // the first caller ends the process
  }
  const base::Error error(
      base::ExitCode::communication,
      {.what = fault,
       .value = about_ranks.empty() ? last_collective() : fmt::format("{}; {}", about_ranks, last_collective()),
       .why = "the GPUs can no longer exchange gradients",
       .remedy = "look for an earlier message of another rank: it may have died or left; check the network (with "
                 "NCCL_DEBUG=INFO); then start the run again, it resumes from its last checkpoint"});
  std::fputs(fmt::format("error on rank {}: {}\n", rank_, error.what()).c_str(), stderr);
  std::fflush(stderr);
  // Never by the thread that polls: abort may hang, and then the process ends without it.
  if (!abort_within(communicator_, device_index_, options_.abort_timeout_seconds)) {
    std::fputs(fmt::format("rank {}: ncclCommAbort did not return within {} s; leaving without it\n", rank_,
                           options_.abort_timeout_seconds)
                   .c_str(),
               stderr);
    std::fflush(stderr);
  }
  std::_Exit(static_cast<int>(base::ExitCode::communication));
}

}  // namespace leda::distributed
