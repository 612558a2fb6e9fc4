// Every byte region of a checkpoint, damaged in every way a disk, a copy or a person damages files: never accepted in
// silence, never a crash, and the good one before it used. The number of cases is printed.
#include <ATen/ops/full.h>

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.hpp"
#include "tests/checkpoint/small_checkpoint.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::step_path;
using test::TemporaryFolder;

constexpr const char* kRunIdentity = "net-1; seed 1";
constexpr const char* kWrittenProvenance = R"({"host":"node1","restarts":2})";
const CheckpointOptions kOptions{.max_file_bytes = 64};  // "networks" becomes two files

CheckpointContent content_of(std::int64_t step, double shift) {
  CheckpointContent content = test::small_content(step);
  content.archives["networks"].tensors.emplace_back("bias", at::full({12}, shift + 1.0 / 3.0, at::kFloat));
  content.archives["networks"].tensors.emplace_back("is_set", at::full({5}, 1, at::kBool));
  return content;
}

// A run's folder with steps 10 and 20, 20 the best.
void write_run(const fs::path& folder, const std::string& identity, double shift) {
  test::KeptConsole kept;
  distributed::SingleProcessCommunicator communicator;
  CheckpointStore store(folder, kOptions, identity, communicator, kept.console());
  for (const std::int64_t step : {10, 20}) {
    ASSERT_TRUE(store.save({.step = step, .is_best = step == 20}, content_of(step, shift), kWrittenProvenance));
  }
}

struct Found {
  std::string text;  // the content in one text; "" where there is none
  std::string provenance;
  std::optional<std::int64_t> best;
  std::string said;
};

std::string text_of(const CheckpointContent& content) {
  std::string text = content.state_json;
  for (const auto& [stem, archive] : content.archives) {
    text += stem;
    for (const auto& [key, value] : archive.metadata) text += key + value;
    for (const auto& [name, tensor] : archive.tensors) {
      text += name + toString(tensor.scalar_type());
      for (const std::int64_t side : tensor.sizes()) text += fmt::format(",{}", side);
      text.append(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
    }
  }
  return text;
}

Found load(const fs::path& folder) {
  test::KeptConsole kept;
  distributed::SingleProcessCommunicator communicator;
  CheckpointStore store(folder, kOptions, kRunIdentity, communicator, kept.console());
  Found found;
  found.best = store.best_step();
  if (const auto checkpoint = store.load_newest()) {
    found.text = text_of(checkpoint->content);
    found.provenance = checkpoint->provenance_json;
  }
  found.said = kept.text();
  return found;
}

struct Region {
  std::string name;
  std::size_t begin = 0;
  std::size_t end = 0;
};

// Length, header, padding, and the values of each tensor.
std::vector<Region> archive_regions(const std::string& bytes) {
  std::uint64_t length = 0;
  bytes.copy(reinterpret_cast<char*>(&length), sizeof length);
  const std::string header = bytes.substr(8, length);
  const std::size_t text_end = 8 + header.find_last_not_of(' ') + 1;
  const std::size_t values = 8 + length;
  std::vector<Region> regions{{"header length", 0, 8}, {"header", 8, text_end}, {"header padding", text_end, values}};
  const auto entries = nlohmann::json::parse(header);
  for (const auto& [name, entry] : entries.items()) {
    if (name == "__metadata__") continue;
    regions.push_back({"values of " + name, values + entry["data_offsets"][0].get<std::size_t>(),
                       values + entry["data_offsets"][1].get<std::size_t>()});
  }
  return regions;
}

// Each member of a checksummed text, at two blanks of indentation, and what is around them.
std::vector<Region> member_regions(const std::string& text) {
  std::vector<Region> regions{{"opening", 0, 0}};
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size() - 1) + 1;
    const std::string line = text.substr(begin, end - begin);
    if (line.starts_with("  \"")) regions.push_back({"member " + line.substr(3, line.find('"', 3) - 3), begin, begin});
    if (line == "}\n") regions.push_back({"closing", begin, begin});
    regions.back().end = end;
    begin = end;
  }
  return regions;
}

std::vector<Region> regions_of(const std::string& name, const std::string& bytes) {
  return name.ends_with(".safetensors") ? archive_regions(bytes) : member_regions(bytes);
}

class Corruption : public testing::Test {
 protected:
  void SetUp() override {
    write_run(run(), kRunIdentity, 0.0);
    write_run(foreign(), "net-1; seed 2", 7.0);
    write_run(twin(), kRunIdentity, 7.0);
    const Found sound = load(run());
    ASSERT_EQ(sound.said, "");
    ASSERT_EQ(sound.best, 20);
    ASSERT_EQ(sound.text, text_of(content_of(20, 0.0)));
    newest_ = sound.text;
    before_ = text_of(content_of(10, 0.0));
    provenance_ = sound.provenance;
    for (const auto& entry : fs::directory_iterator(step_path(run(), 20))) {
      files_[entry.path().filename().string()] = storage::read_text_file(entry.path());
    }
    files_["best.json"] = storage::read_text_file(run() / "best.json");
  }

  fs::path run() const { return folder_.path() / "run"; }
  fs::path foreign() const { return folder_.path() / "foreign"; }  // another run, which is known by its identity
  fs::path twin() const { return folder_.path() / "twin"; }        // another one, which is not
  static fs::path path_in(const fs::path& run, const std::string& name, std::int64_t step = 20) {
    return name == "best.json" ? run / name : step_path(run, step) / name;
  }

  // What is seen of a damaged file: the checkpoint is passed over, or the provenance, or the mark is not believed.
  void expect_seen(const std::string& name, const std::string& what) {
    ++num_cases_[name];
    const Found found = load(run());
    const std::string place = name + ": " + what + "\n" + found.said;
    ASSERT_NE(found.said, "") << place;
    if (name == "best.json" || name == "provenance.json") {
      EXPECT_TRUE(found.text == newest_) << place;
      EXPECT_EQ(found.best.has_value(), name != "best.json") << place;
      EXPECT_EQ(found.provenance, name == "provenance.json" ? "" : provenance_) << place;
    } else {
      EXPECT_TRUE(found.text == before_) << place;
      EXPECT_NE(found.said.find("step_00000020"), std::string::npos) << place;
    }
    // Of a whole manifest of another checkpoint, what does not fit it is said.
    const bool is_whole_manifest = name == "manifest.json" && what.starts_with("is ");
    EXPECT_TRUE(is_whole_manifest || found.said.find(name) != std::string::npos) << place;
  }

  void write(const std::string& name, const std::string& bytes) const {
    fs::remove_all(path_in(run(), name));
    storage::FileWriter(path_in(run(), name)).write(bytes);
  }
  void expect_seen_as(const std::string& name, const std::string& bytes, const std::string& what) {
    write(name, bytes);
    expect_seen(name, what);
    write(name, files_.at(name));
  }

  void flip_every_byte(const std::string& name, const std::string& bytes) {
    for (const Region& region : regions_of(name, bytes)) {
      for (std::size_t i = region.begin; i < region.end; ++i) {
        std::string flipped = bytes;
        flipped[i] = static_cast<char>(flipped[i] ^ (1 << (i % 8)));
        expect_seen_as(name, flipped, fmt::format("bit {} of byte {} flipped, {}", i % 8, i, region.name));
        if (HasFatalFailure()) return;
      }
    }
  }

  void cut_and_lengthen(const std::string& name, const std::string& bytes) {
    for (const Region& region : regions_of(name, bytes)) {
      for (const std::size_t length : {region.begin, (region.begin + region.end) / 2}) {
        if (length == bytes.size()) continue;
        expect_seen_as(name, bytes.substr(0, length), fmt::format("cut to {} bytes, {}", length, region.name));
        // A hole, as a file system leaves it where the name was durable before the bytes.
        std::string hole = bytes;
        std::fill(hole.begin() + static_cast<std::ptrdiff_t>(region.begin),
                  hole.begin() + static_cast<std::ptrdiff_t>(region.end), '\0');
        if (hole != bytes) expect_seen_as(name, hole, "zeros instead of the " + region.name);
        expect_seen_as(name, bytes.substr(0, region.begin) + "x" + bytes.substr(region.begin),
                       fmt::format("a byte more before the {}", region.name));
      }
    }
    for (const std::string& tail : {std::string("\n"), std::string(1, '\0'), std::string(4096, '\0'), bytes}) {
      expect_seen_as(name, bytes + tail, fmt::format("{} bytes longer", tail.size()));
    }
  }

  TemporaryFolder folder_;
  std::string newest_;
  std::string before_;
  std::string provenance_;
  std::map<std::string, std::string> files_;
  std::map<std::string, int> num_cases_;
};

TEST_F(Corruption, OfAnyByteRegionIsSeen) {
  ASSERT_EQ(files_.size(), 7U);
  for (const auto& [name, bytes] : files_) {
    ASSERT_NO_FATAL_FAILURE(flip_every_byte(name, bytes)) << name;
    ASSERT_NO_FATAL_FAILURE(cut_and_lengthen(name, bytes)) << name;
  }
  int total = 0;
  for (const auto& [name, count] : num_cases_) {
    fmt::print("  {:5} cases of {}\n", count, name);
    EXPECT_GE(count, 30) << name;
    total += count;
  }
  fmt::print("{} damaged checkpoints: none accepted in silence\n", total);
  EXPECT_GE(total, 1000);
  EXPECT_EQ(load(run()).said, "");  // all is as it was
}

TEST_F(Corruption, ByFilesOfOtherStepsAndRunsIsSeen) {
  for (const auto& [name, bytes] : files_) {
    for (const fs::path& other : {run(), foreign(), twin()}) {
      for (const std::int64_t step : {10, 20}) {
        const fs::path path = path_in(other, name, step);
        const std::string theirs = storage::read_text_file(path);
        if (theirs == bytes) continue;  // the very file, or one of the same content
        expect_seen_as(name, theirs, "is " + path.string());
      }
    }
    // Another file of the same checkpoint under this name.
    for (const auto& [other, theirs] : files_) {
      if (other != name && theirs != bytes) expect_seen_as(name, theirs, "is " + other);
    }
  }
  int total = 0;
  for (const auto& [name, count] : num_cases_) total += count;
  fmt::print("{} swapped files: none accepted in silence\n", total);
  EXPECT_GE(total, 60);
}

TEST_F(Corruption, ByRemovalOrAFolderInPlaceOfAFileIsSeen) {
  for (const auto& [name, bytes] : files_) {
    const fs::path path = path_in(run(), name);
    fs::remove(path);
    if (name == "best.json" || name == "provenance.json") {
      // Both are optional: without them there is no mark and no provenance, and nothing else is missing.
      const Found found = load(run());
      EXPECT_TRUE(found.text == newest_) << name;
      EXPECT_EQ(found.best.has_value(), name != "best.json");
      EXPECT_EQ(found.provenance.empty(), name == "provenance.json");
    } else {
      expect_seen(name, "removed");
    }
    fs::create_directory(path);
    expect_seen(name, "a folder");
    fs::remove(path);
    fs::create_symlink(folder_.path() / "nowhere", path);
    if (name != "best.json" && name != "provenance.json") expect_seen(name, "a link to nowhere");
    write(name, bytes);
  }
}

TEST_F(Corruption, AWholeCheckpointFromElsewhereIsSeen) {
  const fs::path newest = step_path(run(), 20);
  const auto put = [&](const fs::path& other) {
    fs::remove_all(newest);
    fs::copy(other, newest);
    return load(run());
  };
  const Found another_step = put(step_path(run(), 10));
  EXPECT_TRUE(another_step.text == before_);
  EXPECT_NE(another_step.said.find("manifest says step 10"), std::string::npos) << another_step.said;
  const Found another_run = put(step_path(foreign(), 20));
  EXPECT_TRUE(another_run.text == before_);
  EXPECT_NE(another_run.said.find("seed 2"), std::string::npos) << another_run.said;
  // A twin's checkpoint is complete and says that it is of this run. What it cannot be is the one that was marked best.
  const Found twins = put(step_path(twin(), 20));
  EXPECT_FALSE(twins.best);
  EXPECT_NE(twins.said.find("best.json"), std::string::npos) << twins.said;
}

}  // namespace
}  // namespace leda::checkpoint
