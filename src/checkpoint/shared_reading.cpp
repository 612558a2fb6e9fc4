#include "checkpoint/shared_reading.hpp"

#include <fmt/format.h>

#include <exception>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint_folder.hpp"
#include "distributed/core/caught_error.hpp"
#include "distributed/core/error_message.hpp"

namespace leda::checkpoint {
namespace {

using Json = nlohmann::json;

// What one rank found, for the others: `manifest` says which checkpoint, to the last bit; else there is a `reason`, and
// with it an `error` where that is more than damage.
struct Finding {
  std::string manifest{};
  std::string reason{};
  std::string error{};
  bool is_foreign = false;
};

std::string text_of(const Finding& finding) {
  const Json text{{"manifest", finding.manifest},
                  {"reason", finding.reason},
                  {"error", finding.error},
                  {"is_foreign", finding.is_foreign}};
  return text.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Finding finding_of(const std::string& text) {
  const Json parsed = Json::parse(text);
  return {.manifest = parsed.at("manifest"),
          .reason = parsed.at("reason"),
          .error = parsed.at("error"),
          .is_foreign = parsed.at("is_foreign")};
}

// Whatever it runs into: the other ranks are waiting to hear of it.
Finding read_own(const std::filesystem::path& folder, std::int64_t step, const std::string& run_identity,
                 const ReadingPlace& place, std::optional<LoadedCheckpoint>& found) {
  try {
    found = read_checkpoint_folder(folder, step, run_identity, place);
    return {.manifest = found->manifest_checksum};
  } catch (const ForeignCheckpoint& foreign) {
    return {.reason = foreign.what(), .error = distributed::error_message(foreign.error()), .is_foreign = true};
  } catch (const DamagedCheckpoint& damage) {
    return {.reason = damage.what()};
  } catch (const std::exception&) {
    const base::Error error = distributed::caught_error("a checkpoint could not be read");
    return {.reason = error.text().what + ": " + error.text().value, .error = distributed::error_message(error)};
  }
}

// Says why: people may want to look at that rank's disk.
bool has_every_rank_the_same(const std::vector<Finding>& findings, const std::filesystem::path& folder,
                             logging::Console& console) {
  bool is_same = true;
  for (std::size_t rank = 1; rank < findings.size(); ++rank) {
    if (findings[rank].manifest == findings[0].manifest) continue;
    is_same = false;
    const std::string& reason = findings[rank].reason;
    console.warning(fmt::format("rank {} does not read what rank 0 reads in {}, and is given it: {}", rank,
                                folder.string(), reason.empty() ? "it finds another checkpoint there" : reason));
  }
  return is_same;
}

}  // namespace

SharedReading read_on_all_ranks(const std::filesystem::path& folder, std::int64_t step, const std::string& run_identity,
                                distributed::Communicator& communicator, logging::Console& console) {
  communicator.note(fmt::format("reads the checkpoint of step {}", step));
  const ReadingPlace place{.local_rank = communicator.local_rank(), .local_size = communicator.local_size()};
  SharedReading reading;
  const Finding own = read_own(folder, step, run_identity, place, reading.checkpoint);
  std::vector<Finding> findings;
  for (const std::string& text : distributed::all_gather_texts(communicator, text_of(own))) {
    findings.push_back(finding_of(text));
  }
  const Finding& first = findings.front();
  if (!first.reason.empty()) {
    if (!first.error.empty() && !first.is_foreign) throw distributed::error_of_message(first.error);
    if (first.is_foreign) reading.foreign_error = distributed::error_of_message(first.error);
    reading.checkpoint.reset();
    reading.reason = first.reason;
    return reading;
  }
  if (!has_every_rank_the_same(findings, folder, console)) {
    if (communicator.rank() != 0) reading.checkpoint.emplace();
    broadcast_checkpoint(communicator, *reading.checkpoint);
  } else {
    // The one file that the manifest does not list.
    LoadedCheckpoint& checkpoint = *reading.checkpoint;
    checkpoint.provenance_json = distributed::broadcast_text(communicator, checkpoint.provenance_json, 0);
  }
  return reading;
}

}  // namespace leda::checkpoint
