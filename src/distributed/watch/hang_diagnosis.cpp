#include "distributed/watch/hang_diagnosis.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace leda::distributed {
namespace {

// "rank 0 in all_reduce of 12 Float (step 3); ranks 1 and 2 in barrier".
std::string places_text(const std::map<std::string, std::vector<int>>& ranks_at) {
  std::vector<std::string> places;
  for (const auto& [place, ranks] : ranks_at) places.push_back(fmt::format("{} in {}", ranks_text(ranks), place));
  return fmt::format("{}", fmt::join(places, "; "));
}

struct Groups {
  std::vector<int> without_heartbeat;
  std::vector<int> at_work_too_long;
  std::vector<int> busy;
  std::map<std::string, std::vector<int>> waiting_in;
  std::map<std::pair<std::int64_t, std::string>, std::vector<int>> waiting_at;  // by number and call
};

Groups group(const std::vector<std::optional<Heartbeat>>& heartbeats, double limit_seconds) {
  Groups groups;
  for (std::size_t i = 0; i < heartbeats.size(); ++i) {
    const int rank = static_cast<int>(i);
    if (!heartbeats[i]) {
      groups.without_heartbeat.push_back(rank);
    } else if (heartbeats[i]->is_waiting) {
      groups.waiting_in[heartbeats[i]->doing].push_back(rank);
      groups.waiting_at[{heartbeats[i]->sequence, heartbeats[i]->doing}].push_back(rank);
    } else if (heartbeats[i]->silent_seconds >= limit_seconds) {
      groups.at_work_too_long.push_back(rank);
    } else {
      groups.busy.push_back(rank);
    }
  }
  return groups;
}

std::string waiting_text(const std::map<std::string, std::vector<int>>& waiting_in) {
  return waiting_in.empty() ? "no other rank waits for it" : "waiting for it: " + places_text(waiting_in);
}

HangDiagnosis stuck_at_work(const std::vector<std::optional<Heartbeat>>& heartbeats, const Groups& groups) {
  const auto sequence = [&](int rank) { return heartbeats[static_cast<std::size_t>(rank)]->sequence; };
  std::int64_t fewest = sequence(groups.at_work_too_long.front());
  for (const int rank : groups.at_work_too_long) fewest = std::min(fewest, sequence(rank));
  HangDiagnosis diagnosis;
  std::vector<std::string> last;
  for (const int rank : groups.at_work_too_long) {
    if (sequence(rank) > fewest) continue;
    diagnosis.culprits.push_back(rank);
    last.push_back(fmt::format("the last event of rank {}, {:.1f} s ago, was: {}", rank,
                               heartbeats[static_cast<std::size_t>(rank)]->silent_seconds,
                               heartbeats[static_cast<std::size_t>(rank)]->doing));
  }
  diagnosis.what = fmt::format("{} stand{} still, at work rather than in a collective", ranks_text(diagnosis.culprits),
                               diagnosis.culprits.size() == 1 ? "s" : "");
  diagnosis.value = fmt::format("{}; {}", fmt::join(last, "; "), waiting_text(groups.waiting_in));
  return diagnosis;
}

// Everybody waits. Nothing where no thread sleeps, or all do: then the wait itself is of that kind.
std::optional<HangDiagnosis> asleep_in_a_collective(const std::vector<std::optional<Heartbeat>>& heartbeats,
                                                    double timeout_seconds) {
  std::vector<int> asleep;
  std::map<std::string, std::vector<int>> asleep_in;
  std::map<std::string, std::vector<int>> waiting_in;
  for (std::size_t i = 0; i < heartbeats.size(); ++i) {
    const int rank = static_cast<int>(i);
    const bool is_asleep = heartbeats[i]->asleep_seconds >= timeout_seconds / 2.0;
    if (is_asleep) asleep.push_back(rank);
    (is_asleep ? asleep_in : waiting_in)[heartbeats[i]->doing].push_back(rank);
  }
  if (asleep.empty() || waiting_in.empty()) return std::nullopt;
  return HangDiagnosis{
      .culprits = asleep,
      .what = fmt::format("{} stand{} still, asleep inside a collective", ranks_text(asleep),
                          asleep.size() == 1 ? "s" : ""),
      .value = fmt::format("takes no processor time: {}; {}", places_text(asleep_in), waiting_text(waiting_in))};
}

// Everybody waits: for each other in different calls, or in the same one, which then is the network's fault.
HangDiagnosis all_wait(const Groups& groups, std::size_t num_ranks) {
  HangDiagnosis diagnosis;
  if (groups.waiting_at.size() == 1) {
    for (std::size_t rank = 0; rank < num_ranks; ++rank) diagnosis.culprits.push_back(static_cast<int>(rank));
    diagnosis.what = "all ranks wait in the same collective: the network, or MPI, stands still";
    diagnosis.value = groups.waiting_at.begin()->first.second;
    return diagnosis;
  }
  std::size_t largest = 0;
  for (const auto& [place, ranks] : groups.waiting_at) largest = std::max(largest, ranks.size());
  const bool has_majority = 2 * largest > num_ranks;
  std::vector<std::string> places;
  for (const auto& [place, ranks] : groups.waiting_at) {
    places.push_back(fmt::format("{} in collective {}, {}", ranks_text(ranks), place.first, place.second));
    if (has_majority && ranks.size() == largest) continue;
    diagnosis.culprits.insert(diagnosis.culprits.end(), ranks.begin(), ranks.end());
  }
  std::sort(diagnosis.culprits.begin(), diagnosis.culprits.end());
  diagnosis.what = fmt::format("{} and the other ranks wait in different collectives", ranks_text(diagnosis.culprits));
  if (!has_majority) diagnosis.what = fmt::format("{} wait in different collectives", ranks_text(diagnosis.culprits));
  diagnosis.value = fmt::format("{}", fmt::join(places, "; "));
  return diagnosis;
}

}  // namespace

std::string ranks_text(const std::vector<int>& ranks) {
  if (ranks.size() == 1) return fmt::format("rank {}", ranks.front());
  const std::vector<int> first(ranks.begin(), ranks.end() - 1);
  return fmt::format("ranks {} and {}", fmt::join(first, ", "), ranks.back());
}

HangDiagnosis diagnose_hang(const std::vector<std::optional<Heartbeat>>& heartbeats, double timeout_seconds,
                            double slack_seconds) {
  const Groups groups = group(heartbeats, timeout_seconds - slack_seconds);
  if (!groups.without_heartbeat.empty()) {
    return {.culprits = groups.without_heartbeat,
            .what = fmt::format("{} {} sent no heartbeat", ranks_text(groups.without_heartbeat),
                                groups.without_heartbeat.size() == 1 ? "has" : "have"),
            .value = waiting_text(groups.waiting_in)};
  }
  if (!groups.at_work_too_long.empty()) return stuck_at_work(heartbeats, groups);
  if (!groups.busy.empty()) {
    HangDiagnosis diagnosis;
    diagnosis.busy_silent_seconds = heartbeats[static_cast<std::size_t>(groups.busy.front())]->silent_seconds;
    for (const int rank : groups.busy) {
      diagnosis.busy_silent_seconds =
          std::max(diagnosis.busy_silent_seconds, heartbeats[static_cast<std::size_t>(rank)]->silent_seconds);
    }
    return diagnosis;
  }
  if (std::optional<HangDiagnosis> diagnosis = asleep_in_a_collective(heartbeats, timeout_seconds)) return *diagnosis;
  return all_wait(groups, heartbeats.size());
}

}  // namespace leda::distributed
