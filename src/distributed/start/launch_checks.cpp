#include "distributed/start/launch_checks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.hpp"
#include "distributed/watch/hang_diagnosis.hpp"

namespace leda::distributed {
namespace {

// Beyond the first, times in logs and traces mislead; beyond the second, the watchdog would take heartbeats for old.
constexpr double kClockWarningSeconds = 1.0;
constexpr double kClockRefusalSeconds = 30.0;
// Open MPI passes messages within a host through /dev/shm; a process that finds it full dies of SIGBUS.
constexpr std::int64_t kShmWarningBytes = std::int64_t{16} << 20;  // per rank
constexpr std::int64_t kShmRefusalBytes = std::int64_t{1} << 20;

using Facts = std::vector<LaunchFacts>;

// "ranks 0 and 1 on alpha, rank 2 on beta".
std::string places_text(const std::vector<const LaunchFacts*>& ranks) {
  std::map<std::string, std::vector<int>> by_host;
  for (const LaunchFacts* rank : ranks) by_host[rank->host].push_back(rank->rank);
  std::vector<std::string> places;
  for (const auto& [host, numbers] : by_host) places.push_back(fmt::format("{} on {}", ranks_text(numbers), host));
  return fmt::format("{}", fmt::join(places, ", "));
}

std::map<std::string, std::vector<const LaunchFacts*>> by_host(const Facts& facts) {
  std::map<std::string, std::vector<const LaunchFacts*>> hosts;
  for (const LaunchFacts& rank : facts) hosts[rank.host].push_back(&rank);
  return hosts;
}

LaunchCheck check_ranks(const Facts& facts) {
  LaunchCheck check{.name = "ranks"};
  const LaunchFacts& first = facts.front();
  check.finding =
      fmt::format("{} on {} host{}", first.world_size, by_host(facts).size(), by_host(facts).size() == 1 ? "" : "s");
  for (const LaunchFacts& rank : facts) {
    if (rank.announced_size == 0 || rank.announced_size == rank.world_size) continue;
    check.result = CheckResult::refused;
    check.finding = fmt::format("{} announces {} ranks to {}, MPI has connected {}", rank.announced_by,
                                rank.announced_size, places_text({&rank}), rank.world_size);
    check.why = "the job would fall apart into several that train into the same folder";
    check.remedy = "start with the mpirun of the MPI that the program was built with, or with srun --mpi=pmix";
    break;
  }
  return check;
}

LaunchCheck refused(const std::string& name, const std::string& finding, const std::string& why,
                    const std::string& remedy) {
  return {.name = name, .result = CheckResult::refused, .finding = finding, .why = why, .remedy = remedy};
}

LaunchCheck check_devices(const Facts& facts) {
  const std::string name = "devices";
  const std::string remedy =
      "one rank per GPU: srun --gpus-per-task=1, or mpirun -np with as many ranks per host as it has GPUs; or "
      "run.device = cpu";
  std::map<std::pair<std::string, std::string>, std::vector<const LaunchFacts*>> users;
  int num_users = 0;
  for (const LaunchFacts& rank : facts) {
    if (!rank.device.is_needed) continue;
    ++num_users;
    if (rank.device.num_visible == 0) {
      return refused(name, fmt::format("{} sees no GPU", places_text({&rank})), "it has nothing to compute on", remedy);
    }
    // One visible device each is how schedulers hand out GPUs; otherwise the local rank chooses among those visible.
    if (rank.device.num_visible > 1 && rank.device.num_visible < rank.local_size) {
      return refused(name,
                     fmt::format("{} sees {} GPUs, for {} ranks on that host", places_text({&rank}),
                                 rank.device.num_visible, rank.local_size),
                     "some ranks would have none of their own", remedy);
    }
    if (!rank.device.bus_id.empty()) users[{rank.host, rank.device.bus_id}].push_back(&rank);
  }
  for (const auto& [device, ranks] : users) {
    if (ranks.size() == 1) continue;
    return refused(name, fmt::format("{} share the GPU {}", places_text(ranks), device.second),
                   "NCCL refuses two ranks on one device, and each would have half of it", remedy);
  }
  return {.name = name, .finding = num_users == 0 ? "CPU" : fmt::format("{} GPUs, one a rank", num_users)};
}

LaunchCheck check_program(const Facts& facts) {
  std::map<std::string, std::vector<const LaunchFacts*>> builds;
  for (const LaunchFacts& rank : facts) builds[rank.build].push_back(&rank);
  if (builds.size() == 1) return {.name = "program", .finding = facts.front().build};
  std::vector<std::string> lines;
  for (const auto& [build, ranks] : builds) lines.push_back(fmt::format("{}: {}", places_text(ranks), build));
  return refused("program", fmt::format("ranks run different builds: {}", fmt::join(lines, "; ")),
                 "they may order collectives differently, and would then wait for each other for ever",
                 "install the same build on all hosts, and look for an older one earlier on their PATH or "
                 "LD_LIBRARY_PATH");
}

LaunchCheck check_run_folder(const Facts& facts) {
  std::vector<const LaunchFacts*> blind;
  for (const LaunchFacts& rank : facts) {
    if (!rank.sees_run_folder) blind.push_back(&rank);
  }
  if (blind.empty()) return {.name = "run folder", .finding = "seen by all ranks"};
  return refused("run folder",
                 fmt::format("{} {} another run folder than rank 0 on {}", places_text(blind),
                             blind.size() == 1 ? "sees" : "see", facts.front().host),
                 "networks of stage 1 and the heartbeats of silent ranks would not be found",
                 "set run.folder to a path in a file system that all hosts share");
}

LaunchCheck check_clocks(const Facts& facts) {
  const auto by_clock = [](const LaunchFacts& a, const LaunchFacts& b) {
    return a.clock_offset_seconds < b.clock_offset_seconds;
  };
  const auto [slowest, fastest] = std::minmax_element(facts.begin(), facts.end(), by_clock);
  const double apart = fastest->clock_offset_seconds - slowest->clock_offset_seconds;
  LaunchCheck check{.name = "clocks", .finding = fmt::format("at most {:.3f} s apart", apart)};
  if (apart <= kClockWarningSeconds) return check;
  check.result = apart > kClockRefusalSeconds ? CheckResult::refused : CheckResult::warning;
  check.finding = fmt::format("the clocks of {} and {} are {:.1f} s apart", places_text({&*slowest}),
                              places_text({&*fastest}), apart);
  check.why = "times in logs and traces would mislead, and a rank that lives be taken for silent";
  check.remedy = "set the hosts' clocks (chronyd, ntpd)";
  return check;
}

LaunchCheck check_threads(const Facts& facts) {
  LaunchCheck check{.name = "threads"};
  std::vector<std::string> crowded;
  for (const auto& [host, ranks] : by_host(facts)) {
    std::set<int> cores;
    int num_threads = 0;
    for (const LaunchFacts* rank : ranks) {
      cores.insert(rank->cores.begin(), rank->cores.end());
      num_threads += rank->num_threads;
    }
    if (cores.empty() || num_threads <= static_cast<int>(cores.size())) continue;
    crowded.push_back(fmt::format("{}: {} threads for {} cores", places_text(ranks), num_threads, cores.size()));
  }
  if (crowded.empty()) {
    check.finding = "no more than cores, on every host";
    return check;
  }
  check.result = CheckResult::warning;
  check.finding = fmt::format("{}", fmt::join(crowded, "; "));
  check.why = "threads that wait for a core make every rank wait";
  check.remedy =
      "fewer ranks per host or a smaller distributed.threads_per_rank; under mpirun, --bind-to none gives "
      "ranks more than the one core each that Open MPI binds them to";
  return check;
}

LaunchCheck check_shared_memory(const Facts& facts) {
  LaunchCheck check{.name = "shared memory", .finding = "/dev/shm has room on every host"};
  for (const auto& [host, ranks] : by_host(facts)) {
    const std::int64_t available = ranks.front()->shm_free_bytes;
    const auto num_ranks = static_cast<std::int64_t>(ranks.size());
    if (available < 0 || num_ranks == 1 || available >= num_ranks * kShmWarningBytes) continue;
    check.result = available < num_ranks * kShmRefusalBytes ? CheckResult::refused : CheckResult::warning;
    check.finding = fmt::format("/dev/shm on {} has {:.1f} MiB free for {} ranks", host,
                                static_cast<double>(available) / (1 << 20), num_ranks);
    check.why = "ranks exchange messages through it, and die of SIGBUS when it is full";
    check.remedy = "remove what others left in /dev/shm; containers: --shm-size=1g, or --ipc=host";
    if (check.result == CheckResult::refused) break;
  }
  return check;
}

const char* result_name(CheckResult result) {
  switch (result) {
    case CheckResult::in_order:
      return "in order";
    case CheckResult::warning:
      return "warning";
    case CheckResult::refused:
      return "refused";
  }
  return "";
}

}  // namespace

std::vector<LaunchCheck> judge_launch(const std::vector<LaunchFacts>& facts) {
  return {check_ranks(facts),  check_devices(facts), check_program(facts),      check_run_folder(facts),
          check_clocks(facts), check_threads(facts), check_shared_memory(facts)};
}

void check_launch(Communicator& communicator, const LaunchInputs& inputs, bool prints_all, logging::Console& console) {
  std::vector<LaunchCheck> refusals;
  for (const LaunchCheck& check : judge_launch(gather_launch_facts(communicator, inputs))) {
    if (prints_all) {
      console.info(fmt::format("launch, {:<13}  {:<8}  {}", check.name, result_name(check.result), check.finding));
    }
    if (check.result == CheckResult::warning) {
      console.warning(fmt::format("{}: {}; {}", check.finding, check.why, check.remedy));
    }
    if (check.result == CheckResult::refused) refusals.push_back(check);
  }
  if (refusals.empty()) return;
  const LaunchCheck& first = refusals.front();
  std::string value;
  for (std::size_t i = 1; i < refusals.size(); ++i) {
    value += fmt::format("{}also: {} ({})", i == 1 ? "" : "; ", refusals[i].finding, refusals[i].remedy);
  }
  throw base::ErrorOnAllRanks(base::ExitCode::communication,
                              {.what = "the job is not started as it should be: " + first.finding,
                               .value = value,
                               .why = first.why,
                               .remedy = first.remedy});
}

}  // namespace leda::distributed
