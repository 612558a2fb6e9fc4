// The communicator backends of the shared suites in the program that tests NCCL on the fake GPU: in place of
// communicator_backends_test.cpp.
#include <gtest/gtest.h>

#include "distributed/mpi/mpi_communicator.hpp"
#include "distributed/nccl/nccl_communicator.hpp"
#include "tests/distributed/communicator_backends.hpp"
#include "tests/distributed/nccl/kernel_communicator.hpp"

namespace leda::test {
namespace {

using Body = std::function<void(distributed::Communicator&)>;

CommunicatorBackend nccl_backend(const std::string& name, const fake_gpu::Faults& faults, bool carries_large_tensors) {
  const auto run = [faults](const Body& body) {
    fake_gpu::Machine machine(MPI_COMM_WORLD, {.faults = faults});
    {
      distributed::MpiCommunicator control(MPI_COMM_WORLD);
      KernelCommunicator communicator(machine, std::make_unique<distributed::NcclCommunicator>(
                                                   control, control.local_rank(), distributed::DeviceOptions{}));
      body(communicator);
    }
    for (const std::string& violation : machine.violations()) ADD_FAILURE() << violation;
    for (const std::string& leftover : machine.leftovers()) ADD_FAILURE() << leftover;
  };
  return {name, run, carries_large_tensors, /*orders_duplicates_freely=*/false};
}

}  // namespace

std::vector<CommunicatorBackend> local_backends() { return {}; }

std::vector<CommunicatorBackend> mpi_backends() {
  return {nccl_backend("nccl", {}, true),
          nccl_backend("nccl_in_progress", {.calls_in_progress = 3, .init_polls = 5}, false)};
}

}  // namespace leda::test
