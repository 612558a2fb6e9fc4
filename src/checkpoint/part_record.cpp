#include "checkpoint/part_record.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <system_error>

#include "base/error.hpp"
#include "checkpoint/checksummed_json.hpp"
#include "storage/durable_file.hpp"

namespace leda::checkpoint {
namespace {

std::filesystem::path record_path(const std::filesystem::path& temporary, int rank, PartStage stage) {
  return temporary.string() +
         fmt::format("_rank_{}_{}.json", rank, stage == PartStage::written ? "written" : "verified");
}

}  // namespace

void leave_part_record(const std::filesystem::path& temporary, int rank, PartStage stage, const PartRecord& record) {
  const nlohmann::ordered_json object{{"files", nlohmann::ordered_json::parse(files_text(record.files))},
                                      {"failure", record.failure}};
  const std::string text = object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  storage::write_file_durably(record_path(temporary, rank, stage), add_checksum(text));
}

std::optional<PartRecord> take_part_record(const std::filesystem::path& temporary, int rank, PartStage stage) {
  const std::filesystem::path path = record_path(temporary, rank, stage);
  std::error_code problem;
  if (!std::filesystem::exists(path, problem)) return std::nullopt;
  const std::string text = storage::read_text_file(path);
  if (!has_valid_checksum(text)) {
    throw base::Error(base::ExitCode::storage, {.what = fmt::format("{} reads back differently", path.string()),
                                                .value = "its checksum does not match",
                                                .why = "what that rank has written is not known",
                                                .remedy = "choose a folder in another file system"});
  }
  const auto object = nlohmann::json::parse(text);
  std::filesystem::remove(path, problem);
  return PartRecord{.files = parse_files(object.at("files").dump()),
                    .failure = object.at("failure").get<std::string>()};
}

void remove_part_records(const std::filesystem::path& temporary, int rank) {
  std::error_code ignored;
  for (const PartStage stage : {PartStage::written, PartStage::verified}) {
    std::filesystem::remove(record_path(temporary, rank, stage), ignored);
  }
}

}  // namespace leda::checkpoint
