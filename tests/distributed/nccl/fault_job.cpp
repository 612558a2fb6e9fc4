// A job whose ranks reduce over NCCL on the fake GPU, 20 steps, while rank 1 meets the fault that is asked for.
// nccl_faults_test.py starts it and looks at how it ends.
#include <ATen/ops/full.h>
#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "distributed/core/device_ranks.hpp"
#include "distributed/core/watched_communicator.hpp"
#include "distributed/nccl/nccl_communicator.hpp"
#include "programs/run_program.hpp"
#include "tests/distributed/fake_gpu/fake_gpu.hpp"

namespace {

using leda::base::ExitCode;
using leda::distributed::Communicator;
using leda::test::fake_gpu::MachineOptions;

constexpr double kTimeoutSeconds = 1.5;
constexpr int kNumSteps = 20;
constexpr int kFaultyStep = 5;
constexpr int kFaultyRank = 1;

const std::map<std::string, MachineOptions> kFaultyMachines = {
    {"none", {}},
    {"in_progress", {.faults = {.calls_in_progress = 20}}},
    {"slow_link", {.faults = {.link_seconds = 0.05}}},
    {"late_start", {.faults = {.init_polls = 300}}},
    {"start_never_ends", {.faults = {.init_polls = -1}}},
    {"start_fails", {.faults = {.init_result = ncclSystemError}}},
    {"system_error", {.faults = {.failing_call = kFaultyStep, .call_result = ncclSystemError}}},
    {"remote_error", {.faults = {.failing_collective = kFaultyStep, .async_result = ncclRemoteError}}},
    {"remote_error_and_abort_hangs",
     {.faults = {.failing_collective = kFaultyStep, .async_result = ncclRemoteError, .abort_hangs = true}}},
    {"hang", {.faults = {.hanging_collective = kFaultyStep}}},
    {"hang_and_abort_hangs", {.faults = {.hanging_collective = kFaultyStep, .abort_hangs = true}}},
    {"finalize_hangs", {.faults = {.finalize_hangs = true}}},
    {"one_device_for_all", {.is_one_device = true}},
    {"too_few_devices", {.num_devices = 0}},
    {"another_count", {}},
    {"exception", {}},
    {"kill", {}},
    {"stop", {}},
};

void meet_fault_between_start_and_wait(const std::string& fault) {
  if (fault == "exception") throw std::runtime_error("a mistake in the middle of a step");
  if (fault == "kill") std::raise(SIGKILL);
  if (fault == "stop") std::raise(SIGSTOP);
}

// LibTorch gives a GPU's memory to others in the order of the compute stream; the fake's is the host's, which is free
// at once. So every gradient outlives the communicator, whose collectives may still be under way when an exception
// passes.
using Gradients = std::vector<at::Tensor>;

void train(Communicator& communicator, cudaStream_t compute_stream, const std::string& fault, Gradients& gradients) {
  for (int step = 0; step < kNumSteps; ++step) {
    const bool is_faulty = communicator.rank() == kFaultyRank && step == kFaultyStep;
    const std::int64_t count = is_faulty && fault == "another_count" ? 999 : 1000;
    const at::Tensor gradient = gradients.emplace_back(at::full({count}, 1.0, at::kFloat));
    const auto pending = communicator.start_all_reduce(gradient);
    if (is_faulty) meet_fault_between_start_and_wait(fault);
    pending->wait();
    cudaStreamSynchronize(compute_stream);
    if (!gradient.equal(at::full({1000}, communicator.size(), at::kFloat))) throw std::logic_error("a wrong sum");
  }
}

// Arguments: the fault, and the folder for the ranks' last events.
ExitCode run(const std::vector<std::string>& arguments, Communicator& mpi, leda::logging::Console&,
             leda::distributed::HangDetector& hang_detector) {
  const std::string fault = arguments.at(0);
  hang_detector.watch(arguments.at(1), kTimeoutSeconds);
  leda::distributed::WatchedCommunicator control(mpi, hang_detector.journal(),
                                                 /*check_calls=*/fault == "another_count");
  MachineOptions options = kFaultyMachines.at(fault);
  if (control.rank() != kFaultyRank) options.faults = {};
  if (fault == "too_few_devices") options.num_devices = control.size() - 1;
  if (fault == "hang_and_abort_hangs") options.faults.abort_hangs = true;
  Gradients gradients;
  leda::test::fake_gpu::Machine machine(MPI_COMM_WORLD, options);
  if (fault == "one_device_for_all" || fault == "too_few_devices") {
    leda::distributed::connect_devices(control, {});
    return ExitCode::finished;
  }
  {
    const auto nccl = control.watch_alike(std::make_unique<leda::distributed::NcclCommunicator>(
        control, control.local_rank(),
        leda::distributed::DeviceOptions{
            .init_timeout_seconds = 1.0,
            .timeout_seconds = kTimeoutSeconds,
            .abort_timeout_seconds = 0.5,
            .report_before_exit = [&](const std::string& text) { return hang_detector.report_before_exit(text); }}));
    train(*nccl, machine.compute_stream(), fault, gradients);
  }
  for (const std::string& violation : machine.violations()) std::puts(violation.c_str());
  for (const std::string& leftover : machine.leftovers()) std::puts(leftover.c_str());
  std::puts(fmt::format("rank {} is through", control.rank()).c_str());
  const bool is_clean = machine.violations().empty() && machine.leftovers().empty();
  return is_clean ? ExitCode::finished : ExitCode::internal;
}

}  // namespace

int main(int argc, char** argv) { leda::programs::run_program(argc, argv, "fault_job", run); }
