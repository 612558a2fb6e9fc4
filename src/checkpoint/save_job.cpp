#include "checkpoint/save_job.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <exception>
#include <set>
#include <thread>

#include "base/error.hpp"
#include "checkpoint/checkpoint_folder.hpp"
#include "checkpoint/part_record.hpp"
#include "checkpoint/write_probe.hpp"
#include "storage/durable_file.hpp"

namespace leda::checkpoint {
namespace {

namespace fs = std::filesystem;

// Thrown within a read-back that is to end.
struct ReadBackCancelled {};

class Save {
 public:
  Save(const SaveJob& job, const CheckpointContent& content, SaveProgress& progress, logging::Console& console)
      : job_(job),
        content_(content),
        progress_(progress),
        console_(console),
        temporary_(temporary_path(job.folder, job.request.step, job.id)),
        note_piece_([this](std::uint64_t) { note_piece(); }) {
    if (job.request.is_urgent) progress.is_urgent = true;
  }

  SaveCost run() {
    create_folders();
    std::vector<ListedFile> own = write_own_files();
    if (job_.rank == 0) {
      commit(write_head(std::move(own)));
      remove_old_ones();
    } else {
      leave_part_record(temporary_, job_.rank, PartStage::written, {.files = own, .failure = ""});
      for (const ListedFile& file : own) verify(file);
      leave_part_record(temporary_, job_.rank, PartStage::verified, {.files = own, .failure = ""});
    }
    cost_.step = job_.request.step;
    for (const ArchiveFile& file : job_.files) cost_.num_bytes += file.value_bytes;
    cost_.write_seconds = stopwatch_.seconds() - cost_.verify_seconds - cost_.retention_seconds;
    return cost_;
  }

  // The files are of no use to anybody; without them there may be room for the records.
  void fail(const std::string& reason) noexcept {
    try {
      for (std::size_t i = 0; i < job_.files.size(); ++i) {
        if (job_.writers[i] == job_.rank) remove_quietly(temporary_ / job_.files[i].name);
      }
      if (job_.rank == 0) return;
      for (const PartStage stage : {PartStage::written, PartStage::verified}) {
        leave_part_record(temporary_, job_.rank, stage, {.files = {}, .failure = reason});
      }
    } catch (const std::exception&) {
      // Rank 0 then waits until its patience, or the other thread, ends it.
    }
  }

 private:
  void note_piece() {
    ++progress_.num_pieces;
    if (progress_.is_aborted) throw SaveAborted("another rank could not write its part");
  }

  // The name is of this save alone, so that every writer may be the first.
  void create_folders() {
    // Of the first save alone, unless the folder was taken away: it costs a sync of every folder above.
    if (job_.removes_leftovers || !fs::exists(job_.folder)) create_folder_durably(job_.folder);
    if (job_.removes_leftovers) remove_leftovers(job_.folder, temporary_, console_);
    if (mkdir(temporary_.c_str(), 0777) != 0 && errno != EEXIST) {
      throw storage::storage_error("cannot create the folder", temporary_, errno);
    }
  }

  std::vector<ListedFile> write_own_files() {
    std::vector<ListedFile> own;
    for (std::size_t i = 0; i < job_.files.size(); ++i) {
      if (job_.writers[i] != job_.rank) continue;
      own.push_back(write_archive_file(temporary_, job_.files[i], content_, note_piece_));
      note_piece();
    }
    return own;
  }

  void verify(const ListedFile& file) {
    if (progress_.is_urgent) return;
    const base::Stopwatch stopwatch;
    const auto unless_urgent = [this](std::uint64_t) {
      note_piece();
      if (progress_.is_urgent) throw ReadBackCancelled();
    };
    try {
      read_back(temporary_, file, unless_urgent);
    } catch (const ReadBackCancelled&) {
      // Somebody waits for the node: the rest of the file is believed.
    }
    cost_.verify_seconds += stopwatch.seconds();
  }

  // Returns when every byte of the checkpoint is on the disk and was read back, each file by the rank that wrote it.
  Manifest write_head(std::vector<ListedFile> own) {
    const double patience = job_.patience_seconds + 10.0 * stopwatch_.seconds();
    const Manifest head{.step = job_.request.step,
                        .is_last = job_.request.is_last,
                        .run_identity = job_.run_identity,
                        .files = with_other_ranks(own, patience)};
    const Manifest manifest = write_head_files(temporary_, head, content_.state_json, job_.provenance_json);
    own.push_back(manifest.files.back());  // state.json
    for (const ListedFile& file : own) verify(file);
    const base::Stopwatch others;
    for (const int rank : other_writers()) await_record(rank, PartStage::verified, patience);
    if (progress_.is_urgent) return manifest;
    read_back_manifest(temporary_, manifest);
    cost_.verify_seconds += others.seconds();
    return manifest;
  }

  std::set<int> other_writers() const {
    std::set<int> ranks(job_.writers.begin(), job_.writers.end());
    ranks.erase(0);
    return ranks;
  }

  // Every rank's files, in the order of the plan.
  std::vector<ListedFile> with_other_ranks(const std::vector<ListedFile>& own, double patience) {
    std::vector<ListedFile> found = own;
    for (const int rank : other_writers()) {
      for (ListedFile& file : await_record(rank, PartStage::written, patience).files) found.push_back(std::move(file));
    }
    std::vector<ListedFile> ordered;
    for (const ArchiveFile& file : job_.files) {
      const auto place =
          std::find_if(found.begin(), found.end(), [&](const auto& one) { return one.name == file.name; });
      if (place == found.end()) throw SaveAborted(fmt::format("no rank has written {}", file.name));
      ordered.push_back(*place);
    }
    return ordered;
  }

  PartRecord await_record(int rank, PartStage stage, double patience) {
    const base::Stopwatch waited;
    for (auto pause = std::chrono::milliseconds(1);; pause = std::min(2 * pause, std::chrono::milliseconds(20))) {
      if (const std::optional<PartRecord> record = take_part_record(temporary_, rank, stage)) {
        ++progress_.num_pieces;
        if (!record->failure.empty()) throw SaveAborted(fmt::format("rank {}: {}", rank, record->failure));
        return *record;
      }
      if (progress_.is_aborted) throw SaveAborted("another rank could not write its part");
      if (waited.seconds() > patience) throw missing_part(rank, patience);
      std::this_thread::sleep_for(pause);
    }
  }

  base::Error missing_part(int rank, double patience) const {
    return {
        base::ExitCode::storage,
        {.what = fmt::format("rank {}'s part of {} is not there after {:.0f} s", rank, temporary_.string(), patience),
         .value = "",
         .why = "a checkpoint is complete only with all parts",
         .remedy = "look at that rank's host, and whether it sees the same run folder"}};
  }

  // Gives the finished folder its name. A checkpoint of this step that is there already stays, if it is complete and
  // the same; otherwise it is moved aside under a name that readers know, so that no moment is without one of the two.
  void commit(const Manifest& manifest) {
    const fs::path final_path = job_.folder / step_folder_name(manifest.step);
    if (!fs::exists(final_path)) {
      storage::rename_durably(temporary_, final_path);
    } else if (is_same_checkpoint(final_path, temporary_, manifest.step)) {
      remove_quietly(temporary_);
    } else {
      replace(final_path);
    }
    if (job_.request.is_best) write_best(job_.folder, manifest.step, console_);
  }

  void replace(const fs::path& final_path) {
    const fs::path replaced = replaced_path(job_.folder, job_.request.step, job_.id);
    storage::rename_durably(final_path, replaced);
    try {
      storage::rename_durably(temporary_, final_path);
    } catch (...) {
      if (!fs::exists(final_path)) std::rename(replaced.c_str(), final_path.c_str());
      throw;
    }
    remove_quietly(replaced);
  }

  void remove_old_ones() {
    if (progress_.is_urgent) return;
    const base::Stopwatch stopwatch;
    RetentionPlan plan = job_.retention;
    plan.damaged.erase(job_.request.step);
    if (job_.request.is_best) plan.best = job_.request.step;
    apply_retention(job_.folder, job_.request.step, plan, job_.id, console_);
    cost_.retention_seconds = stopwatch.seconds();
  }

  const SaveJob& job_;
  const CheckpointContent& content_;
  SaveProgress& progress_;
  logging::Console& console_;
  fs::path temporary_;
  storage::Progress note_piece_;
  base::Stopwatch stopwatch_;
  SaveCost cost_;
};

}  // namespace

bool SaveJob::has_work() const { return rank == 0 || std::find(writers.begin(), writers.end(), rank) != writers.end(); }

SaveCost run_save(const SaveJob& job, const CheckpointContent& content, SaveProgress& progress,
                  logging::Console& console) {
  Save save(job, content, progress, console);
  try {
    return save.run();
  } catch (const DamagedCheckpoint& damage) {
    save.fail(damage.what());
    throw base::Error(base::ExitCode::storage,
                      {.what = fmt::format("step {} was written to {} and reads back differently", job.request.step,
                                           job.folder.string()),
                       .value = damage.what(),
                       .why = "the disk or its file system damages data",
                       .remedy = "choose a folder in another file system"});
  } catch (const std::exception& problem) {
    save.fail(problem.what());
    throw;
  }
}

}  // namespace leda::checkpoint
