#include "tests/benchmarks/all_reduce_benchmark.hpp"

#include <ATen/ops/full.h>
#include <mpi.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "tests/benchmarks/result_file.hpp"

namespace leda::benchmark {
namespace {

double seconds_of(distributed::Communicator& communicator, const std::function<void()>& sum) {
  communicator.barrier();
  const double begin = base::steady_seconds();
  sum();
  return base::steady_seconds() - begin;
}

}  // namespace

void bind_all_reduce_options(config::OptionTable& table, AllReduceOptions& options) {
  table.add("all_reduce.num_elements", "of float32", &options.num_elements);
  table.add("all_reduce.num_repeats", "of both sums, in turns", &options.num_repeats);
  table.add("all_reduce.result", "JSON file to write", &options.result);
}

void run_all_reduce_benchmark(const AllReduceOptions& options, distributed::Communicator& communicator) {
  const at::Tensor tensor = at::full({options.num_elements}, 1.0, at::kFloat);
  const auto ours = [&] { distributed::all_reduce(communicator, tensor); };
  const auto plain = [&] {
    if (MPI_Allreduce(MPI_IN_PLACE, tensor.mutable_data_ptr(), static_cast<int>(tensor.numel()), MPI_FLOAT, MPI_SUM,
                      MPI_COMM_WORLD) != MPI_SUCCESS) {
      throw base::Error(
          base::ExitCode::communication,
          {.what = "MPI_Allreduce failed", .value = "", .why = "", .remedy = "check the MPI installation"});
    }
  };
  nlohmann::json by_communicator = nlohmann::json::array();
  nlohmann::json by_mpi = nlohmann::json::array();
  for (std::int64_t repeat = 0; repeat < options.num_repeats; ++repeat) {
    tensor.fill_(1.0);
    by_communicator.push_back(seconds_of(communicator, ours));
    const auto sum = tensor.const_data_ptr<float>()[options.num_elements - 1];
    tensor.fill_(1.0);
    by_mpi.push_back(seconds_of(communicator, plain));
    if (sum != tensor.const_data_ptr<float>()[options.num_elements - 1]) {
      throw base::Error(base::ExitCode::internal, {.what = "the two sums differ",
                                                   .value = std::to_string(sum),
                                                   .why = "",
                                                   .remedy = "run the tests of distributed/"});
    }
  }
  const nlohmann::json result = {
      {"communicator_seconds", by_communicator}, {"mpi_seconds", by_mpi}, {"num_elements", options.num_elements}};
  write_result(options.result, communicator, result.dump());
}

}  // namespace leda::benchmark
