#include "training/options/execution_environment.hpp"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"

namespace leda::training {

namespace {

std::string of_all_ranks(distributed::Communicator& communicator, const std::string& own) {
  return by_runs(distributed::all_gather_texts(communicator, own));
}

}  // namespace

ExecutionEnvironment gather_execution_environment(distributed::Communicator& communicator, at::Device device,
                                                  bool is_reproducible) {
  ExecutionEnvironment facts;
  if (!is_reproducible) facts.emplace_back("num_ranks", std::to_string(communicator.size()));
  facts.emplace_back("threads_per_rank", of_all_ranks(communicator, std::to_string(at::get_num_threads())));
  facts.emplace_back("instruction_set", of_all_ranks(communicator, at::get_cpu_capability()));
  facts.emplace_back("device", of_all_ranks(communicator, at::Device(device.type()).str()));
  return facts;
}

void require_one_instruction_set(distributed::Communicator& communicator, at::Device device) {
  const std::string own = at::get_cpu_capability();
  const std::string all = of_all_ranks(communicator, own);
  if (!device.is_cpu() || all == own) return;
  throw base::ErrorOnAllRanks(
      base::ExitCode::communication,
      {.what = "ranks compute with different instruction sets",
       .value = all + ", in the order of ranks",
       .why = "each rank updates its own copy of the network, and the copies would drift apart in the last bits",
       .remedy = "start on nodes of one kind, or set ATEN_CPU_CAPABILITY to the least of them (default, avx2, avx512) "
                 "for all ranks"});
}

std::string by_runs(const std::vector<std::string>& of_ranks) {
  std::string text;
  for (auto begin = of_ranks.begin(); begin != of_ranks.end();) {
    const auto end = std::find_if(begin, of_ranks.end(), [&](const std::string& other) { return other != *begin; });
    if (begin == of_ranks.begin() && end == of_ranks.end()) return *begin;
    text += fmt::format("{}{} x {}", text.empty() ? "" : ", ", end - begin, *begin);
    begin = end;
  }
  return text;
}

std::string environment_changes(const ExecutionEnvironment& before, const ExecutionEnvironment& now) {
  std::string changes;
  for (const auto& [name, value] : now) {
    const auto old = std::find_if(before.begin(), before.end(), [&](const auto& fact) { return fact.first == name; });
    if (old == before.end() || old->second == value) continue;
    changes += fmt::format("{}{} was {}, is {}", changes.empty() ? "" : "; ", name, old->second, value);
  }
  return changes;
}

}  // namespace leda::training
