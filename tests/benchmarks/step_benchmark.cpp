#include "tests/benchmarks/step_benchmark.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <fmt/format.h>

#include <cmath>
#include <ctime>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "distributed/core/clock_offset.hpp"
#include "distributed/core/single_process_communicator.hpp"
#include "logging/console.hpp"
#include "logging/trace.hpp"
#include "losses/reconstruction_loss.hpp"
#include "models/denoiser.hpp"
#include "storage/durable_file.hpp"
#include "tests/benchmarks/result_file.hpp"
#include "training/update/parameter_updater.hpp"

namespace leda::benchmark {
namespace {

constexpr double kLearningRate = 1e-4;

at::Tensor wave(std::int64_t count, double frequency, double phase) {
  return at::arange(count, at::kDouble).mul(frequency).add(phase).sin();
}

// Weights that any other program can make, too: no random numbers.
void set_weights(models::TensorTable& table) {
  const at::NoGradGuard no_grad;
  double index = 0.0;
  for (models::NamedTensor& parameter : table.parameters) {
    at::Tensor& tensor = parameter.tensor;
    const double fan_in = static_cast<double>(tensor.numel() / tensor.size(0));
    const double bound = tensor.dim() > 1 ? 1.0 / std::sqrt(fan_in) : 0.01;
    tensor.copy_(wave(tensor.numel(), 0.7, index).mul(bound).view(tensor.sizes()));
    index += 1.0;
  }
}

struct Images {
  at::Tensor low_dose;
  at::Tensor normal_dose;
};

Images make_images(const StepOptions& options, int rank) {
  const std::int64_t count = options.rank_batch * options.size * options.size;
  const at::Tensor normal_dose = wave(count, 0.01, rank).mul(0.4).add(0.5);
  const at::Tensor low_dose = normal_dose + wave(count, 1.3, rank).mul(0.1);
  const auto as_batch = [&](const at::Tensor& values) {
    return values.to(at::kFloat).view({options.rank_batch, 1, options.size, options.size});
  };
  return {as_batch(low_dose), as_batch(normal_dose)};
}

std::int64_t peak_memory_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::int64_t kibibytes = 0;
    if (word == "VmHWM:" && status >> kibibytes) return kibibytes << 10;
  }
  return 0;
}

std::unique_ptr<logging::Trace> make_trace(const StepOptions& options, distributed::Communicator& communicator,
                                           logging::Console& console) {
  if (options.trace_folder.empty()) return std::make_unique<logging::Trace>();
  const auto offset = distributed::estimate_clock_offset(communicator, [] { return base::steady_seconds(); });
  const std::string file = fmt::format("{}/rank_{}.json", options.trace_folder, communicator.rank());
  const logging::TraceClock clock{offset.seconds, offset.uncertainty_seconds, 0.0, 0.0};
  return std::make_unique<logging::Trace>(file, communicator.rank(), "benchmark", clock, console);
}

}  // namespace

void bind_step_options(config::OptionTable& table, StepOptions& options) {
  table.add("step.channels", "of RED-CNN", &options.channels);
  table.add("step.size", "side of the images", &options.size);
  table.add("step.rank_batch", "images of one rank in a step", &options.rank_batch);
  table.add("step.num_steps", "steps to take", &options.num_steps);
  table.add("step.num_threads", "threads of each rank", &options.num_threads);
  table.add("step.communication", "false: every rank trains alone, beside the others", &options.communication);
  table.add("step.trace_folder", "write traces there", &options.trace_folder);
  table.add("step.result", "JSON file to write", &options.result);
  table.add("distributed.bucket_bytes", "gradients that travel together", &options.distributed.bucket_bytes);
  table.add("distributed.first_bucket_bytes", "the same, of the first to leave",
            &options.distributed.first_bucket_bytes);
  table.add("distributed.wire_type", "full or bfloat16", &options.distributed.gradient_compression);
  table.add("distributed.overlap", "false: buckets leave after backward", &options.distributed.overlap);
}

void run_step_benchmark(const StepOptions& options, distributed::Communicator& communicator) {
  at::set_num_threads(static_cast<int>(options.num_threads));
  distributed::SingleProcessCommunicator alone;
  distributed::Communicator& partners = options.communication ? communicator : alone;
  const double global_batch = static_cast<double>(options.rank_batch * partners.size());
  logging::Console console(communicator.rank());
  const auto trace = make_trace(options, communicator, console);

  const std::unique_ptr<models::Denoiser> network = models::make_denoiser({.channels = options.channels}, {});
  set_weights(network->tensors());
  training::UpdateOptions update_options;
  update_options.synchronizer = options.distributed;
  training::ParameterUpdater updater(network->tensors().parameters, update_options,
                                     training::plan_for(network->tensors().parameters, options.distributed), partners,
                                     trace.get());
  const Images images = make_images(options, communicator.rank());

  nlohmann::json times = nlohmann::json::array();
  nlohmann::json processor_times = nlohmann::json::array();
  nlohmann::json losses = nlohmann::json::array();
  double first_step_end = 0.0;
  for (std::int64_t step = 0; step < options.num_steps; ++step) {
    const std::clock_t processor_begin = std::clock();
    const double begin = base::steady_seconds();
    {
      const logging::Span span(trace.get(), "step", step);
      updater.begin_step(step, 1, options.rank_batch * partners.size());
      const at::Tensor denoised = network->denoise(images.low_dose);
      const at::Tensor loss = losses::squared_error_per_image(denoised, images.normal_dose).sum() / global_batch;
      updater.accumulate(loss, true);
      updater.update(kLearningRate);
      losses.push_back(loss.item<double>() * partners.size());
    }
    const double end = base::steady_seconds();
    if (step == 0) first_step_end = end;
    times.push_back(end - begin);
    processor_times.push_back(static_cast<double>(std::clock() - processor_begin) / CLOCKS_PER_SEC);
  }

  std::int64_t num_parameters = 0;
  for (const auto& parameter : network->tensors().parameters) num_parameters += parameter.tensor.numel();
  nlohmann::json buckets = nlohmann::json::array();
  for (const auto& bucket : updater.plan().parameter_indices) {
    std::int64_t bytes = 0;
    for (const int index : bucket) {
      bytes +=
          static_cast<std::int64_t>(network->tensors().parameters[static_cast<std::size_t>(index)].tensor.nbytes());
    }
    buckets.push_back(bytes);
  }
  const nlohmann::json result = {{"step_seconds", times},
                                 {"processor_seconds", processor_times},
                                 {"losses", losses},
                                 {"first_step_end", first_step_end},
                                 {"num_parameters", num_parameters},
                                 {"bucket_bytes", buckets},
                                 {"peak_memory_bytes", gathered(communicator, peak_memory_bytes())},
                                 {"seconds_blocked", trace->seconds_blocked()}};
  write_result(options.result, communicator, result.dump());
}

}  // namespace leda::benchmark
