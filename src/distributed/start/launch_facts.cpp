#include "distributed/start/launch_facts.hpp"

#include <ATen/Version.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <system_error>
#include <thread>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/keyed_random.hpp"
#include "distributed/core/clock_offset.hpp"
#include "distributed/core/host_name.hpp"
#include "distributed/mpi/mpi_session.hpp"

namespace leda::distributed {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// Until a file that rank 0 has written is seen on another host: network file systems remember what was not there.
constexpr double kSecondsToAppear = 3.0;

std::string read_file(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

std::string build_identity() {
  return fmt::format("program {:016x}, LibTorch {:016x}", base::key_of(read_file("/proc/self/exe")),
                     base::key_of(at::get_mkl_version() + at::get_mkldnn_version() + at::get_cxx_flags()));
}

std::vector<int> allowed_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &allowed)) cores.push_back(core);
  }
  return cores;
}

std::int64_t free_shared_memory() {
  struct statvfs facts {};
  if (statvfs("/dev/shm", &facts) != 0) return -1;
  return static_cast<std::int64_t>(facts.f_bavail) * static_cast<std::int64_t>(facts.f_frsize);
}

bool appears(const fs::path& path, const std::string& text) {
  const base::Stopwatch stopwatch;
  do {
    if (read_file(path) == text) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  } while (stopwatch.seconds() < kSecondsToAppear);
  return false;
}

// Rank 0 writes a text that nobody else can know, and every rank looks for it.
bool sees_run_folder(Communicator& communicator, const fs::path& run_folder) {
  const fs::path path = run_folder / ".launch_token";
  std::string token;
  if (communicator.rank() == 0) {
    token = fmt::format("{} {} {:.9f}", host_name(), getpid(), base::unix_seconds());
    std::ofstream stream(path, std::ios::binary);
    stream << token;
    stream.close();
    if (!stream) token.clear();
  }
  token = broadcast_text(communicator, token, 0);
  if (token.empty()) {
    throw base::ErrorOnAllRanks(base::ExitCode::storage, {.what = "rank 0 cannot write into the run folder",
                                                          .value = path.string(),
                                                          .why = "checkpoints would have no place",
                                                          .remedy = "choose another run.folder, or free space there"});
  }
  const bool is_seen = appears(path, token);
  communicator.barrier();
  std::error_code ignored;
  if (communicator.rank() == 0) fs::remove(path, ignored);
  return is_seen;
}

Json own_facts(Communicator& communicator, const LaunchInputs& inputs) {
  const AnnouncedWorld announced = announced_world();
  return {{"local_size", communicator.local_size()},
          {"host", host_name()},
          {"process", getpid()},
          {"announced_size", announced.size},
          {"announced_by", announced.variable},
          {"needs_device", inputs.device.is_needed},
          {"visible_devices", inputs.device.num_visible},
          {"bus_id", inputs.device.bus_id},
          {"build", build_identity()},
          {"sees_run_folder", sees_run_folder(communicator, inputs.run_folder)},
          {"clock_offset", -estimate_clock_offset(communicator, base::unix_seconds).seconds},
          {"threads", inputs.num_threads},
          {"cores", allowed_cores()},
          {"shm", free_shared_memory()}};
}

}  // namespace

std::vector<LaunchFacts> gather_launch_facts(Communicator& communicator, const LaunchInputs& inputs) {
  const std::string own = own_facts(communicator, inputs).dump(-1, ' ', false, Json::error_handler_t::replace);
  std::vector<LaunchFacts> ranks;
  for (const std::string& text : all_gather_texts(communicator, own)) {
    const Json json = Json::parse(text);
    ranks.push_back({.rank = static_cast<int>(ranks.size()),
                     .local_size = json.at("local_size"),
                     .host = json.at("host"),
                     .process = json.at("process"),
                     .world_size = communicator.size(),
                     .announced_size = json.at("announced_size"),
                     .announced_by = json.at("announced_by"),
                     .device = {json.at("needs_device"), json.at("visible_devices"), json.at("bus_id")},
                     .build = json.at("build"),
                     .sees_run_folder = json.at("sees_run_folder"),
                     .clock_offset_seconds = json.at("clock_offset"),
                     .num_threads = json.at("threads"),
                     .cores = json.at("cores").get<std::vector<int>>(),
                     .shm_free_bytes = json.at("shm")});
  }
  return ranks;
}

}  // namespace leda::distributed
