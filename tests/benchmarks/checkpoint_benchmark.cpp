#include "tests/benchmarks/checkpoint_benchmark.hpp"

#include <ATen/ops/arange.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "checkpoint/checkpoint_store.hpp"
#include "storage/durable_file.hpp"
#include "tests/benchmarks/result_file.hpp"

namespace leda::benchmark {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPlainPiece = std::size_t{1} << 20;

checkpoint::CheckpointContent make_content(const CheckpointBenchmarkOptions& options) {
  const std::int64_t length = options.num_bytes / 4 / (3 * options.num_tensors);
  checkpoint::CheckpointContent content;
  const auto add = [&](const std::string& stem, const std::string& kind, double shift) {
    for (std::int64_t i = 0; i < options.num_tensors; ++i) {
      // Values that neither a disk nor its file system can compress away.
      const at::Tensor values =
          at::arange(length, at::kDouble).mul_(0.61803398875).add_(shift + static_cast<double>(i)).sin_();
      content.archives[stem].tensors.emplace_back(fmt::format("{}.{}", kind, i), values.to(at::kFloat));
    }
  };
  add("networks", "weight", 0.1);
  add("optimisers", "first_moment", 0.2);
  add("optimisers", "second_moment", 0.3);
  content.state_json = "{\"step\": 0}\n";
  return content;
}

class File {
 public:
  File(const fs::path& path, int flags) : path_(path), descriptor_(open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (descriptor_ < 0) fail();
  }
  ~File() { close(descriptor_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  int descriptor() const { return descriptor_; }
  [[noreturn]] void fail() const { throw storage::storage_error("cannot measure with", path_, errno); }

 private:
  fs::path path_;
  int descriptor_;
};

// As plain as it gets: one file, one thread, one fsync.
void plain_write(const fs::path& path, const checkpoint::CheckpointContent& content) {
  const File file(path, O_WRONLY | O_CREAT | O_TRUNC);
  for (const auto& [stem, archive] : content.archives) {
    for (const auto& [name, tensor] : archive.tensors) {
      std::span bytes(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
      while (!bytes.empty()) {
        const ssize_t count = write(file.descriptor(), bytes.data(), std::min(bytes.size(), kPlainPiece));
        if (count <= 0) file.fail();
        bytes = bytes.subspan(static_cast<std::size_t>(count));
      }
    }
  }
  if (fsync(file.descriptor()) != 0) file.fail();
}

void plain_read(const fs::path& path) {
  const File file(path, O_RDONLY);
  std::vector<char> piece(kPlainPiece);
  for (ssize_t count = 1; count > 0;) {
    count = read(file.descriptor(), piece.data(), piece.size());
    if (count < 0) file.fail();
  }
}

void forget(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    const File file(entry.path(), O_RDONLY);
    posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
  }
}

class CheckpointBenchmark {
 public:
  CheckpointBenchmark(const CheckpointBenchmarkOptions& options, distributed::Communicator& communicator,
                      logging::Console& console)
      : options_(options),
        communicator_(communicator),
        content_(make_content(options)),
        store_(fs::path(options.folder) / "checkpoints", {.keep_last = 1, .max_file_bytes = options.max_file_bytes},
               "benchmark", communicator, console) {}

  nlohmann::json run() {
    nlohmann::json repeats = nlohmann::json::array();
    for (std::int64_t repeat = 0; repeat <= options_.num_repeats; ++repeat) {
      nlohmann::json seconds;
      // Each goes first in every other repeat.
      for (const bool is_plain : {repeat % 2 == 0, repeat % 2 != 0}) {
        seconds.update(is_plain ? measure_plain() : measure_store(repeat));
      }
      if (repeat > 0) repeats.push_back(seconds);
    }
    return repeats;
  }

 private:
  double seconds_of(const std::function<void()>& work) {
    communicator_.barrier();
    const base::Stopwatch stopwatch;
    work();
    communicator_.barrier();
    return stopwatch.seconds();
  }
  bool is_first() const { return communicator_.rank() == 0; }

  nlohmann::json measure_plain() {
    const fs::path path = fs::path(options_.folder) / "plain";
    nlohmann::json seconds;
    seconds["plain_write"] = seconds_of([&] {
      if (is_first()) plain_write(path, content_);
    });
    if (is_first()) forget(options_.folder);
    seconds["plain_read"] = seconds_of([&] {
      if (is_first()) plain_read(path);
    });
    if (is_first()) fs::remove(path);
    return seconds;
  }

  nlohmann::json measure_store(std::int64_t step) {
    nlohmann::json seconds;
    const double all = seconds_of([&] {
      if (!store_.save({.step = step}, content_, "")) {
        throw base::ErrorOnAllRanks(
            base::ExitCode::storage,
            {.what = "the benchmark cannot save", .value = "", .why = "", .remedy = "see the warning above"});
      }
    });
    // save() waits for the writer, which its pause counts: what is left is what training would wait for.
    const checkpoint::SaveCost& cost = store_.costs().back();
    seconds["save"] = all - cost.verify_seconds - cost.retention_seconds;
    seconds["verify"] = cost.verify_seconds;
    seconds["snapshot"] = snapshot_seconds(step);
    if (is_first()) forget(options_.folder);
    seconds["load"] = seconds_of([&] { store_.load_newest(); });
    return seconds;
  }

  // Of the same step again, which stays as it is.
  double snapshot_seconds(std::int64_t step) {
    communicator_.barrier();
    const base::Stopwatch stopwatch;
    store_.start_save({.step = step}, content_, "");
    const double seconds = stopwatch.seconds();
    store_.finish();
    return seconds;
  }

  const CheckpointBenchmarkOptions& options_;
  distributed::Communicator& communicator_;
  checkpoint::CheckpointContent content_;
  checkpoint::CheckpointStore store_;
};

}  // namespace

void bind_checkpoint_options(config::OptionTable& table, CheckpointBenchmarkOptions& options) {
  table.add("checkpoint.folder", "where to write", &options.folder);
  table.add("checkpoint.num_bytes", "of the state", &options.num_bytes);
  table.add("checkpoint.num_tensors", "of a third of it", &options.num_tensors);
  table.add("checkpoint.num_repeats", "after one that is not counted", &options.num_repeats);
  table.add("checkpoint.max_file_bytes", "larger archives are split", &options.max_file_bytes);
  table.add("checkpoint.result", "JSON file to write", &options.result);
}

void run_checkpoint_benchmark(const CheckpointBenchmarkOptions& options, distributed::Communicator& communicator,
                              logging::Console& console) {
  if (communicator.rank() == 0) fs::create_directories(options.folder);
  CheckpointBenchmark benchmark(options, communicator, console);
  const nlohmann::json repeats = benchmark.run();
  const nlohmann::json result = {{"repeats", repeats}, {"num_bytes", options.num_bytes}};
  write_result(options.result, communicator, result.dump());
  communicator.barrier();
  if (communicator.rank() == 0) fs::remove_all(fs::path(options.folder) / "checkpoints");
}

}  // namespace leda::benchmark
