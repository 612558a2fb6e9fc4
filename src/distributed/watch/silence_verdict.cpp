#include "distributed/watch/silence_verdict.hpp"

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
  std::vector<int> without_sign;
  std::vector<int> at_work_too_long;
  std::vector<int> busy;
  std::map<std::string, std::vector<int>> waiting_in;
  std::map<std::pair<std::int64_t, std::string>, std::vector<int>> waiting_at;  // by number and call
};

Groups group(const std::vector<std::optional<RankSign>>& signs, double limit_seconds) {
  Groups groups;
  for (std::size_t i = 0; i < signs.size(); ++i) {
    const int rank = static_cast<int>(i);
    if (!signs[i]) {
      groups.without_sign.push_back(rank);
    } else if (signs[i]->is_waiting) {
      groups.waiting_in[signs[i]->doing].push_back(rank);
      groups.waiting_at[{signs[i]->sequence, signs[i]->doing}].push_back(rank);
    } else if (signs[i]->silent_seconds >= limit_seconds) {
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

SilenceVerdict stuck_at_work(const std::vector<std::optional<RankSign>>& signs, const Groups& groups) {
  const auto sequence = [&](int rank) { return signs[static_cast<std::size_t>(rank)]->sequence; };
  std::int64_t fewest = sequence(groups.at_work_too_long.front());
  for (const int rank : groups.at_work_too_long) fewest = std::min(fewest, sequence(rank));
  SilenceVerdict verdict;
  std::vector<std::string> last;
  for (const int rank : groups.at_work_too_long) {
    if (sequence(rank) > fewest) continue;
    verdict.culprits.push_back(rank);
    last.push_back(fmt::format("the last event of rank {}, {:.1f} s ago, was: {}", rank,
                               signs[static_cast<std::size_t>(rank)]->silent_seconds,
                               signs[static_cast<std::size_t>(rank)]->doing));
  }
  verdict.what = fmt::format("{} stand{} still, at work rather than in a collective", ranks_text(verdict.culprits),
                             verdict.culprits.size() == 1 ? "s" : "");
  verdict.value = fmt::format("{}; {}", fmt::join(last, "; "), waiting_text(groups.waiting_in));
  return verdict;
}

// Everybody waits. Nothing where no thread sleeps, or all do: then the wait itself is of that kind.
std::optional<SilenceVerdict> asleep_in_a_collective(const std::vector<std::optional<RankSign>>& signs,
                                                     double timeout_seconds) {
  std::vector<int> asleep;
  std::map<std::string, std::vector<int>> asleep_in;
  std::map<std::string, std::vector<int>> waiting_in;
  for (std::size_t i = 0; i < signs.size(); ++i) {
    const int rank = static_cast<int>(i);
    const bool is_asleep = signs[i]->asleep_seconds >= timeout_seconds / 2.0;
    if (is_asleep) asleep.push_back(rank);
    (is_asleep ? asleep_in : waiting_in)[signs[i]->doing].push_back(rank);
  }
  if (asleep.empty() || waiting_in.empty()) return std::nullopt;
  return SilenceVerdict{
      .culprits = asleep,
      .what = fmt::format("{} stand{} still, asleep inside a collective", ranks_text(asleep),
                          asleep.size() == 1 ? "s" : ""),
      .value = fmt::format("takes no processor time: {}; {}", places_text(asleep_in), waiting_text(waiting_in))};
}

// Everybody waits: for each other in different calls, or in the same one, which then is the network's fault.
SilenceVerdict all_wait(const Groups& groups, std::size_t num_ranks) {
  SilenceVerdict verdict;
  if (groups.waiting_at.size() == 1) {
    for (std::size_t rank = 0; rank < num_ranks; ++rank) verdict.culprits.push_back(static_cast<int>(rank));
    verdict.what = "all ranks wait in the same collective: the network, or MPI, stands still";
    verdict.value = groups.waiting_at.begin()->first.second;
    return verdict;
  }
  std::size_t largest = 0;
  for (const auto& [place, ranks] : groups.waiting_at) largest = std::max(largest, ranks.size());
  const bool has_majority = 2 * largest > num_ranks;
  std::vector<std::string> places;
  for (const auto& [place, ranks] : groups.waiting_at) {
    places.push_back(fmt::format("{} in collective {}, {}", ranks_text(ranks), place.first, place.second));
    if (has_majority && ranks.size() == largest) continue;
    verdict.culprits.insert(verdict.culprits.end(), ranks.begin(), ranks.end());
  }
  std::sort(verdict.culprits.begin(), verdict.culprits.end());
  verdict.what = fmt::format("{} and the other ranks wait in different collectives", ranks_text(verdict.culprits));
  if (!has_majority) verdict.what = fmt::format("{} wait in different collectives", ranks_text(verdict.culprits));
  verdict.value = fmt::format("{}", fmt::join(places, "; "));
  return verdict;
}

}  // namespace

std::string ranks_text(const std::vector<int>& ranks) {
  if (ranks.size() == 1) return fmt::format("rank {}", ranks.front());
  const std::vector<int> first(ranks.begin(), ranks.end() - 1);
  return fmt::format("ranks {} and {}", fmt::join(first, ", "), ranks.back());
}

SilenceVerdict judge_silence(const std::vector<std::optional<RankSign>>& signs, double timeout_seconds,
                             double slack_seconds) {
  const Groups groups = group(signs, timeout_seconds - slack_seconds);
  if (!groups.without_sign.empty()) {
    return {.culprits = groups.without_sign,
            .what = fmt::format("{} {} no sign of life", ranks_text(groups.without_sign),
                                groups.without_sign.size() == 1 ? "gives" : "give"),
            .value = waiting_text(groups.waiting_in)};
  }
  if (!groups.at_work_too_long.empty()) return stuck_at_work(signs, groups);
  if (!groups.busy.empty()) {
    SilenceVerdict verdict;
    verdict.busy_silent_seconds = signs[static_cast<std::size_t>(groups.busy.front())]->silent_seconds;
    for (const int rank : groups.busy) {
      verdict.busy_silent_seconds =
          std::max(verdict.busy_silent_seconds, signs[static_cast<std::size_t>(rank)]->silent_seconds);
    }
    return verdict;
  }
  if (std::optional<SilenceVerdict> verdict = asleep_in_a_collective(signs, timeout_seconds)) return *verdict;
  return all_wait(groups, signs.size());
}

}  // namespace leda::distributed
