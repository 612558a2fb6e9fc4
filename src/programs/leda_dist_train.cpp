// leda_dist_train: both stages of LEDA, on any number of ranks. Without arguments the embedded job.
#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "config/command_line.hpp"
#include "config/job_option_table.hpp"
#include "distributed/core/watched_communicator.hpp"
#include "programs/run_program.hpp"
#include "training/run/job.hpp"

namespace {

using leda::base::ExitCode;

ExitCode train(const std::vector<std::string>& arguments, leda::distributed::Communicator& plain_communicator,
               leda::logging::Console& console, leda::distributed::HangDetector& hang_detector) {
  leda::training::JobOptions job;
  leda::config::OptionTable table;
  leda::config::bind_job_options(table, job);
  const leda::config::ProgramDescription program = leda::config::train_program();
  const leda::config::CommandLine line =
      leda::config::parse_command_line(arguments, program, leda::config::embedded_job(), table);
  if (const auto answer = answer_to(line, program, table)) {
    console.print(*answer);
    return ExitCode::finished;
  }

  leda::config::check_job_options(job);
  // Until the job knows which of its runs it is, and watches from there.
  hang_detector.watch(std::filesystem::path(job.run.folder) / "events", job.watch.timeout_seconds);
  leda::distributed::WatchedCommunicator communicator(plain_communicator, hang_detector.journal(),
                                                      job.watch.check_collectives);
  if (line.has("--report")) return leda::training::report_job(job, communicator, console);
  const int threads = leda::programs::set_threads(job.threads_per_rank, communicator);
  if (line.config_file.empty()) {
    console.info("No --config given: this is the embedded job on phantoms (configs/quickstart.cfg).");
  }
  console.info(fmt::format("leda_dist_train {}: {} rank{} x {} thread{}", LEDA_VERSION, communicator.size(),
                           communicator.size() == 1 ? "" : "s", threads, threads == 1 ? "" : "s"));
  return leda::training::run_job(job, leda::config::option_values(table),
                                 {line.has("--new-run"), line.has("--dry-run")}, communicator, hang_detector, console);
}

}  // namespace

int main(int argc, char** argv) { leda::programs::run_program(argc, argv, "leda_dist_train", train); }
