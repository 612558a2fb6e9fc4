#include "checkpoint/checkpoint_store.hpp"

#include <ATen/ops/full.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cassert>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.hpp"
#include "checkpoint/checkpoint_folder.hpp"
#include "checkpoint/checkpoint_listing.hpp"
#include "checkpoint/part_record.hpp"
#include "checkpoint/save_outcome_text.hpp"
#include "checkpoint/shared_reading.hpp"
#include "checkpoint/write_probe.hpp"
#include "distributed/core/rank_zero.hpp"

namespace leda::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxCosts = 16;

base::ErrorOnAllRanks none_usable(const fs::path& folder, const std::string& reasons) {
  return {base::ExitCode::data,
          {.what = fmt::format("no checkpoint in {} is usable", folder.string()),
           .value = reasons,
           .why = "starting from the beginning would silently lose the run",
           .remedy = "restore the folder from a copy, or start a new run (--new-run)"}};
}

// No other process that ever wrote here has had it, not even one of the same number in another container.
std::string new_id() {
  return fmt::format("{}-{:x}", getpid(), static_cast<std::uint64_t>(base::unix_seconds() * 1e6));
}

std::vector<int> writing_order_of(distributed::Communicator& communicator) {
  const at::Tensor own = at::full({1}, communicator.local_rank(), at::kLong);
  const at::Tensor all = distributed::all_gather(communicator, own);
  const auto* local_ranks = all.const_data_ptr<std::int64_t>();
  return writing_order({local_ranks, local_ranks + communicator.size()});
}

void warn_of_provenance(const LoadedCheckpoint& checkpoint, logging::Console& console) {
  if (checkpoint.provenance_damage.empty()) return;
  console.warning(
      fmt::format("provenance.json of step {} is not believed: {}", checkpoint.step, checkpoint.provenance_damage));
}

}  // namespace

CheckpointStore::CheckpointStore(fs::path folder, CheckpointOptions options, std::string run_identity,
                                 distributed::Communicator& communicator, logging::Console& console)
    : folder_(std::move(folder)),
      options_(options),
      run_identity_(std::move(run_identity)),
      communicator_(communicator),
      console_(console),
      writing_order_(writing_order_of(communicator)),
      save_agreement_(communicator) {
  assert(options_.keep_last >= 1);
  const auto found = nlohmann::json::parse(distributed::on_rank_zero(communicator_, [this] {
    return nlohmann::json{{"id", new_id()}, {"best", read_best(folder_, console_).value_or(-1)}}.dump();
  }));
  id_ = found.at("id");
  if (const std::int64_t best = found.at("best"); best >= 0) best_step_ = best;
}

CheckpointStore::~CheckpointStore() {
  if (under_way_) wait_for_writer();
}

SaveJob CheckpointStore::make_job(const SaveRequest& request, const CheckpointContent& content,
                                  const std::string& provenance_json) {
  std::vector<ArchiveFile> files = plan_files(content, options_.max_file_bytes);
  std::vector<int> writers = deal_files(files, writing_order_);
  return {.folder = folder_,
          .id = fmt::format("{}-{}", id_, ++num_saves_),
          .run_identity = run_identity_,
          .request = request,
          .rank = communicator_.rank(),
          .files = std::move(files),
          .writers = std::move(writers),
          .provenance_json = provenance_json,
          .retention = {.keep_last = options_.keep_last,
                        .keep_every = options_.keep_every_num_steps,
                        .best = best_step_,
                        .damaged = damaged_steps_},
          .removes_leftovers = communicator_.rank() == 0 && !std::exchange(leftovers_removed_, true)};
}

void CheckpointStore::start_save(const SaveRequest& request, const CheckpointContent& content,
                                 const std::string& provenance_json) {
  assert(!is_saving());
  SaveJob job = make_job(request, content, provenance_json);
  std::vector<ArchiveFile> own;
  for (std::size_t i = 0; i < job.files.size(); ++i) {
    if (job.writers[i] == job.rank) own.push_back(job.files[i]);
  }
  communicator_.note(fmt::format("checkpoint of step {}: takes a copy", request.step));
  snapshot_.take(content, own);
  under_way_ = std::make_unique<BackgroundSave>(std::move(job), snapshot_.content(), console_);
  pause_seconds_ = base::steady_seconds() - request.pause_began_seconds;
}

std::optional<SaveOutcome> CheckpointStore::poll() {
  if (!under_way_) return std::nullopt;
  const bool is_done = under_way_->is_done();
  const SaveAgreement::Tally tally = save_agreement_.exchange(is_done, is_done && under_way_->has_failed());
  if (tally.all_done) return complete_save();
  if (tally.any_failed) under_way_->abort();
  return std::nullopt;
}

std::optional<SaveOutcome> CheckpointStore::finish(const std::function<bool()>& is_urgent) {
  if (!under_way_) return std::nullopt;
  const base::Stopwatch waited;
  wait_for_writer(is_urgent);
  save_agreement_.drain();
  pause_seconds_ += waited.seconds();
  return complete_save();
}

void CheckpointStore::skip_verification() {
  if (under_way_) under_way_->skip_verification();
}

void CheckpointStore::wait_for_writer(const std::function<bool()>& is_urgent) {
  under_way_->wait([this](const std::string& progress) { communicator_.note(progress); }, is_urgent);
}

// Every rank's writer is done, or waited for here.
SaveOutcome CheckpointStore::complete_save() {
  const std::vector<std::string> texts =
      distributed::all_gather_texts(save_agreement_.channel(), outcome_text(*under_way_));
  JointOutcome joint = joint_outcome(texts);
  const SaveJob& job = under_way_->job();
  SaveOutcome outcome{.request = job.request, .is_saved = !joint.failure, .cost = joint.cost};
  const fs::path temporary = temporary_path(folder_, job.request.step, job.id);
  under_way_.reset();
  if (joint.failure) {
    remove_part_records(temporary, communicator_.rank());
    if (communicator_.rank() == 0) remove_quietly(temporary);
    if (joint.failure->exit_code() != base::ExitCode::storage || outcome.request.is_last) throw *joint.failure;
    console_.warning(fmt::format("step {} was not saved, the next interval tries again: {}", outcome.request.step,
                                 joint.failure->what()));
    return outcome;
  }
  damaged_steps_.erase(outcome.request.step);
  if (outcome.request.is_best) best_step_ = outcome.request.step;
  const at::Tensor pause = at::full({1}, pause_seconds_, at::kDouble);
  save_agreement_.channel().broadcast(pause, 0);
  outcome.cost.pause_seconds = *pause.const_data_ptr<double>();
  if (costs_.size() == kMaxCosts) costs_.erase(costs_.begin());
  costs_.push_back(outcome.cost);
  return outcome;
}

bool CheckpointStore::save(const SaveRequest& request, const CheckpointContent& content,
                           const std::string& provenance_json) {
  finish();
  start_save(request, content, provenance_json);
  return finish()->is_saved;
}

void CheckpointStore::save_last(std::int64_t step, const CheckpointContent& content,
                                const std::string& provenance_json) {
  save(SaveRequest{.step = step, .is_last = true}, content, provenance_json);
}

// By step. All ranks look for the same names.
std::map<std::int64_t, fs::path> CheckpointStore::checkpoints_on_rank_zero() {
  const auto names = nlohmann::json::parse(distributed::on_rank_zero(communicator_, [this] {
    auto found = nlohmann::json::array();
    for (const auto& [step, path] : find_checkpoints(folder_)) found.push_back({step, path.filename().string()});
    return found.dump();
  }));
  std::map<std::int64_t, fs::path> checkpoints;
  for (const auto& entry : names) checkpoints.emplace(entry.at(0), folder_ / entry.at(1).get<std::string>());
  return checkpoints;
}

std::optional<LoadedCheckpoint> CheckpointStore::load_newest() {
  finish();
  const auto checkpoints = checkpoints_on_rank_zero();
  std::string reasons;
  std::optional<base::ErrorOnAllRanks> foreign_error;
  for (auto entry = checkpoints.rbegin(); entry != checkpoints.rend(); ++entry) {
    const auto& [step, path] = *entry;
    SharedReading reading = read_on_all_ranks(path, step, run_identity_, communicator_, console_);
    if (reading.checkpoint) {
      warn_of_provenance(*reading.checkpoint, console_);
      return std::move(reading.checkpoint);
    }
    if (reasons.empty()) foreign_error = reading.foreign_error;
    damaged_steps_.insert(step);
    console_.warning(fmt::format("passing over the {} checkpoint {}: {}", reading.foreign_error ? "foreign" : "damaged",
                                 path.string(), reading.reason));
    reasons += fmt::format("{}step {}: {}", reasons.empty() ? "" : "; ", step, reading.reason);
  }
  if (checkpoints.empty()) return std::nullopt;
  // The newest says best what is wrong with the folder.
  if (foreign_error) throw base::ErrorOnAllRanks(*foreign_error);
  throw none_usable(folder_, reasons);
}

LoadedCheckpoint CheckpointStore::load_step(std::int64_t step) {
  finish();
  const auto checkpoints = checkpoints_on_rank_zero();
  const auto place = checkpoints.find(step);
  const fs::path path = place == checkpoints.end() ? folder_ / step_folder_name(step) : place->second;
  SharedReading reading = read_on_all_ranks(path, step, run_identity_, communicator_, console_);
  if (reading.foreign_error) throw base::ErrorOnAllRanks(*reading.foreign_error);
  if (!reading.checkpoint) throw none_usable(folder_, fmt::format("step {}: {}", step, reading.reason));
  warn_of_provenance(*reading.checkpoint, console_);
  return std::move(*reading.checkpoint);
}

void CheckpointStore::mark_best(std::int64_t step) {
  finish();
  distributed::on_rank_zero(communicator_, [&] {
    if (!find_checkpoints(folder_).contains(step)) {
      throw base::Error(base::ExitCode::internal, {.what = fmt::format("step {} is marked best, but not saved", step),
                                                   .value = "",
                                                   .why = "no checkpoint would be protected",
                                                   .remedy = "this is a mistake of the program: please report it"});
    }
    write_best(folder_, step, console_);
    return std::string();
  });
  best_step_ = step;
}

void CheckpointStore::check_writable(std::uint64_t expected_bytes) {
  finish();
  distributed::on_rank_zero(communicator_, [&] {
    create_folder_durably(folder_);
    if (!std::exchange(leftovers_removed_, true)) remove_leftovers(folder_, "", console_);
    probe_writing(folder_, expected_bytes);
    return std::string();
  });
}

}  // namespace leda::checkpoint
