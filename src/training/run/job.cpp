#include "training/run/job.hpp"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/choice.hpp"
#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/stop_signal.hpp"
#include "checkpoint/run_folder.hpp"
#include "distributed/start/launch_checks.hpp"
#include "logging/goodput_ledger.hpp"
#include "storage/durable_file.hpp"
#include "training/options/execution_environment.hpp"
#include "training/options/time_limit.hpp"
#include "training/run/device_placement.hpp"
#include "training/run/job_data.hpp"
#include "training/run/job_stages.hpp"
#include "training/run/run_ledger.hpp"
#include "training/run/run_options_file.hpp"
#include "training/run/scheduler_job.hpp"
#include "training/run/stop_requests.hpp"

namespace leda::training {
namespace {

namespace fs = std::filesystem;
using base::ExitCode;
using base::StopRequest;

// Collectives on GPUs have the time that all others have.
distributed::DeviceOptions device_options(const JobOptions& options, distributed::HangDetector& hang_detector) {
  distributed::DeviceOptions devices = options.devices;
  devices.timeout_seconds = options.watch.timeout_seconds;
  devices.report_before_exit = [&hang_detector](const std::string& fault) {
    return hang_detector.report_before_exit(fault);
  };
  return devices;
}

ExitCode exit_code_of(StopRequest stop) {
  switch (stop) {
    case StopRequest::run_again:
      return ExitCode::saved_run_again;
    case StopRequest::do_not_restart:
      return ExitCode::saved_do_not_restart;
    case StopRequest::none:
      break;
  }
  return ExitCode::finished;
}

// What a finished run was asked for: with more of it asked for, it is not finished any more.
nlohmann::json extent_of(const JobOptions& options) {
  std::vector<std::string> stages;
  for (const JobStage stage : options.run.stages) stages.push_back(base::name_of(stage));
  return {{"stages", stages},
          {"autoencoder.num_steps", options.pretrain.training.num_steps},
          {"denoiser.num_steps", options.denoise.training.num_steps},
          {"num_denoiser_seeds", options.run.num_denoiser_seeds}};
}

bool is_finished(const fs::path& run_folder, const JobOptions& options, distributed::Communicator& communicator) {
  std::string text;
  if (communicator.rank() == 0 && fs::exists(run_folder / "finished.json")) {
    text = storage::read_text_file(run_folder / "finished.json");
  }
  text = distributed::broadcast_text(communicator, text, 0);
  const auto finished = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  return finished.is_object() && finished.value("extent", nlohmann::json()) == extent_of(options);
}

void print_results(const fs::path& run_folder, logging::Console& console) {
  const fs::path table = run_folder / "evaluation" / "evaluation.txt";
  if (!console.is_root() || !fs::exists(table)) return;
  console.print(fmt::format("\n{}", storage::read_text_file(table)));
  console.print(fmt::format("picture: {}", fs::absolute(run_folder / "evaluation" / "comparison.png").string()));
}

// What the work of a start is done with.
struct StartParts {
  distributed::Communicator& communicator;
  distributed::HangDetector& hang_detector;
  logging::Console& console;
  logging::GoodputLedger& ledger;
  TimeLimit& time_limit;
};

ExitCode leave(StopRequest stop, logging::Console& console) {
  if (stop == StopRequest::none) return ExitCode::finished;
  console.info(stop == StopRequest::run_again ? "stopped and saved: start the same command again to go on"
                                              : "stopped and saved, on request; the same command goes on from here");
  return exit_code_of(stop);
}

// Devices, then data, then the stages. A dry run leaves out the training.
ExitCode work(const JobOptions& options, const fs::path& run_folder, const StartParts& parts, bool is_dry_run) {
  const DevicePlacement placement(options.run.device, parts.communicator, device_options(options, parts.hang_detector));
  distributed::Communicator& communicator = placement.communicator();
  require_one_instruction_set(communicator, placement.device());
  const StopRequests stops(communicator, parts.ledger, parts.time_limit);
  StopRequest stop = StopRequest::none;
  const bool is_prepared = stops.run_stoppable(stop, [&](const auto& should_stop) {
    return prepare_job_data(options, communicator, parts.console, should_stop);
  });
  if (!is_prepared) return leave(stop, parts.console);
  const JobData data = open_job_data(options, communicator, parts.console);
  // Asked for while libraries were loaded, or in the last round.
  if (stop = stops.agreed(); stop != StopRequest::none) return leave(stop, parts.console);

  JobStages stages(options, run_folder,
                   {communicator, placement.device(), parts.console, parts.ledger, parts.time_limit, stops, data});
  if (!is_dry_run) return leave(stages.run(), parts.console);
  stages.check_without_training();
  parts.console.print("dry run: everything a run needs is in order");
  return ExitCode::finished;
}

}  // namespace

ExitCode report_job(const JobOptions& options, distributed::Communicator& communicator, logging::Console& console) {
  const fs::path run_folder = checkpoint::choose_run_folder(options.run.folder, false, communicator);
  if (!fs::exists(run_folder / "options.cfg")) {
    throw base::ErrorOnAllRanks(ExitCode::options, {.what = "there is no run to report on",
                                                    .value = run_folder.string(),
                                                    .why = "",
                                                    .remedy = "name its folder with run.folder, or start one"});
  }
  console.print(fmt::format("run in {}: {}", run_folder.string(),
                            is_finished(run_folder, options, communicator) ? "finished" : "not finished"));
  print_results(run_folder, console);
  print_goodput(run_folder, console);
  return ExitCode::finished;
}

ExitCode run_job(const JobOptions& options, const OptionValues& values, const JobActions& actions,
                 distributed::Communicator& communicator, distributed::HangDetector& hang_detector,
                 logging::Console& console) {
  require_equal_options(values, communicator);
  const fs::path run_folder = checkpoint::choose_run_folder(options.run.folder, actions.new_run, communicator);
  hang_detector.watch(run_folder / "events", options.watch.timeout_seconds);
  if (!actions.dry_run && is_finished(run_folder, options, communicator)) {
    keep_run_options(run_folder, values, communicator);
    console.info(fmt::format("the run in {} is finished; --new-run starts another", run_folder.string()));
    print_results(run_folder, console);
    return ExitCode::finished;
  }
  const checkpoint::RunFolderLock lock(run_folder, communicator, console);
  distributed::check_launch(communicator, {.run_folder = run_folder, .num_threads = at::get_num_threads()},
                            actions.dry_run, console);
  console.info(fmt::format("run folder {}; options:", fs::absolute(run_folder).string()));
  for (const OptionValue& option : values) console.info(fmt::format("  {} = {}", option.name, option.value));
  if (!actions.dry_run) keep_run_options(run_folder, values, communicator);

  const SchedulerJob scheduler_job =
      read_scheduler_job([](const char* name) -> const char* { return std::getenv(name); });
  const auto ledger = actions.dry_run ? std::make_unique<logging::GoodputLedger>()
                                      : open_ledger(run_folder, scheduler_job, communicator, console);
  TimeLimit time_limit({.max_seconds = options.run.max_seconds,
                        .end_of_nodes = scheduler_job.end,
                        .margin_seconds = options.run.margin_seconds},
                       base::unix_seconds);
  const ExitCode code =
      work(options, run_folder, {communicator, hang_detector, console, *ledger, time_limit}, actions.dry_run);
  if (actions.dry_run) return code;
  ledger->finish(static_cast<int>(code));
  if (code != ExitCode::finished) return code;
  if (communicator.rank() == 0) {
    const nlohmann::json finished = {{"finished", base::utc_now()}, {"extent", extent_of(options)}};
    storage::write_file_durably(run_folder / "finished.json", finished.dump(2) + "\n");
  }
  print_results(run_folder, console);
  communicator.barrier();
  return code;
}

}  // namespace leda::training
