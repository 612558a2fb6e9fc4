// Whole data sets, as leda_data makes them: phantoms, import, simulated dose, split, report.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "data/dataset_report.hpp"
#include "data/dataset_split.hpp"
#include "data/dose_simulation.hpp"
#include "data/phantom_dataset.hpp"
#include "data/shard_catalogue.hpp"
#include "data/volume_import.hpp"
#include "distributed/single_process_communicator.hpp"
#include "storage/hdf5_chunk_index.hpp"
#include "tests/data/tiny_shards.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/thread_ranks.hpp"

namespace leda::data {
namespace {

using base::ExitCode;
using distributed::Communicator;
using test::refusal_message;
using testing::AllOf;
using testing::HasSubstr;

using Work = std::function<void(Communicator&, logging::Console&)>;

// Runs `work` on ranks; returns what rank 0 said.
std::string on_ranks(int num_ranks, const Work& work) {
  std::FILE* const output = std::tmpfile();
  test::run_ranks(num_ranks, [&](Communicator& communicator) {
    logging::Console console(communicator.rank(), output, output);
    work(communicator, console);
  });
  std::string said;
  std::rewind(output);
  for (int c = std::fgetc(output); c != EOF; c = std::fgetc(output)) said.push_back(static_cast<char>(c));
  std::fclose(output);
  return said;
}

std::map<std::string, std::string> files_of(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    files[entry.path().filename().string()] = test::bytes_of(entry.path());
  }
  return files;
}

PhantomDatasetOptions small_phantoms(const std::filesystem::path& folder) {
  PhantomDatasetOptions options;
  options.folder = folder.string();
  options.num_patients = 3;
  options.slices_per_patient = 2;
  options.slices_per_shard = 2;
  options.size = 64;
  return options;
}

std::string write_phantoms(const PhantomDatasetOptions& options, int num_ranks = 1) {
  return on_ranks(num_ranks, [&](Communicator& communicator, logging::Console& console) {
    write_phantom_dataset(options, communicator, console);
  });
}

// One tiny shard a patient.
void write_patients(const std::filesystem::path& folder,
                    const std::vector<std::pair<std::string, std::int64_t>>& patients) {
  for (const auto& [patient, count] : patients) {
    test::write_tiny_shard(folder / (patient + ".h5"), 0, count, test::kFullShape, patient);
  }
}

TEST(PhantomDataset, IsTheSameWhateverTheNumberOfRanks) {
  const test::TemporaryFolder alone, together;
  write_phantoms(small_phantoms(alone.path()));
  write_phantoms(small_phantoms(together.path()), 3);
  EXPECT_EQ(files_of(alone.path()), files_of(together.path()));
  const ShardCatalogue catalogue = ShardCatalogue::open(alone.path());
  EXPECT_EQ(catalogue.num_slices(), 6);
  EXPECT_EQ(catalogue.patients().size(), 3);
  EXPECT_TRUE(catalogue.has_low_dose() && catalogue.has_tissue() && catalogue.has_noise_free());
  const auto json = nlohmann::json::parse(test::bytes_of(alone.path() / "dataset.json"));
  EXPECT_EQ(json["fingerprint"], catalogue.fingerprint());
  EXPECT_EQ(json["shards"].size(), 3);
}

// Two ranks, three shards of two slices: two rounds, and a question before each slice of a round.
TEST(PhantomDataset, StopsBeforeTheSliceWhereItIsAskedToAndGoesOnFromTheShardsThatAreComplete) {
  const test::TemporaryFolder straight;
  write_phantoms(small_phantoms(straight.path()));
  for (const auto& [stop_at, num_complete] : {std::pair{2, 0U}, std::pair{3, 2U}, std::pair{4, 2U}}) {
    const test::TemporaryFolder stopped;
    on_ranks(2, [&, stop_at = stop_at](Communicator& communicator, logging::Console& console) {
      int num_asked = 0;
      EXPECT_FALSE(write_phantom_dataset(small_phantoms(stopped.path()), communicator, console,
                                         [&] { return ++num_asked == stop_at; }));
      EXPECT_EQ(num_asked, stop_at);
    });
    EXPECT_FALSE(std::filesystem::exists(stopped.path() / "dataset.json"));
    EXPECT_EQ(files_of(stopped.path()).size(), num_complete) << stop_at;
    write_phantoms(small_phantoms(stopped.path()));
    EXPECT_EQ(files_of(stopped.path()), files_of(straight.path())) << stop_at;
  }
}

TEST(PhantomDataset, LowDoseIsNoisierAndOtherPatientsAreOtherPhantoms) {
  const test::TemporaryFolder folder, others;
  write_phantoms(small_phantoms(folder.path()));
  PhantomDatasetOptions options = small_phantoms(others.path());
  options.first_patient = 3;
  write_phantoms(options);
  const ShardCatalogue first = ShardCatalogue::open(folder.path()), second = ShardCatalogue::open(others.path());
  const Slice slice = first.read_slice(0, {.low_dose = true, .tissue = true, .noise_free = true});
  const auto error = [&](const at::Tensor& image) {
    return (image.to(at::kFloat) - slice.noise_free_hu.to(at::kFloat)).square().mean().item<double>();
  };
  EXPECT_GT(error(slice.low_dose_hu), 2.0 * error(slice.normal_dose_hu));
  EXPECT_GT(error(slice.normal_dose_hu), 0.0);
  EXPECT_EQ(slice.record.dose_fraction, 0.25);
  EXPECT_FALSE(slice.noise_free_hu.equal(second.read_slice(0, {.noise_free = true}).noise_free_hu));
  EXPECT_NE(first.patients(), second.patients());
}

TEST(PhantomDataset, InterruptedCallGoesOnAndKeepsCompleteShards) {
  const test::TemporaryFolder folder;
  const PhantomDatasetOptions options = small_phantoms(folder.path());
  write_phantoms(options);
  const auto complete = files_of(folder.path());
  const auto kept_time = std::filesystem::last_write_time(folder.path() / "shard_00001.h5");
  std::filesystem::remove(folder.path() / "dataset.json");
  std::filesystem::remove(folder.path() / "shard_00000.h5");
  std::filesystem::resize_file(folder.path() / "shard_00002.h5", 3000);
  std::ofstream(folder.path() / ".shard_00000.h5_tmp-123") << "left behind";
  write_phantoms(options, 2);
  EXPECT_EQ(files_of(folder.path()), complete);
  EXPECT_EQ(std::filesystem::last_write_time(folder.path() / "shard_00001.h5"), kept_time);
  EXPECT_THAT(write_phantoms(options), HasSubstr("complete already"));
}

TEST(PhantomDataset, FolderOfAnotherDataSetIsRefused) {
  const test::TemporaryFolder folder, foreign;
  PhantomDatasetOptions options = small_phantoms(folder.path());
  write_phantoms(options);
  const auto complete = files_of(folder.path());
  options.seed = 2;
  EXPECT_THAT(refusal_message(ExitCode::data, [&] { write_phantoms(options); }),
              AllOf(HasSubstr("dataset.json"), HasSubstr("seed = 1")));
  std::filesystem::remove(folder.path() / "dataset.json");
  EXPECT_THAT(refusal_message(ExitCode::data, [&] { write_phantoms(options); }), HasSubstr("shard_0000"));
  test::write_tiny_shard(foreign.path() / "mine.h5", 0, 2);
  EXPECT_THAT(refusal_message(ExitCode::data, [&] { write_phantoms(small_phantoms(foreign.path())); }),
              HasSubstr("mine.h5"));
}

TEST(PhantomDataset, NumbersOutOfRangeAreRefused) {
  const test::TemporaryFolder folder;
  PhantomDatasetOptions options = small_phantoms(folder.path());
  options.num_patients = 0;
  EXPECT_THAT(refusal_message(ExitCode::options, [&] { write_phantoms(options); }), HasSubstr("patients"));
  options = small_phantoms(folder.path());
  options.dose_fraction = 1.5;
  refusal_message(ExitCode::options, [&] { write_phantoms(options); });
}

TEST(VolumeImport, RawVolumeKeepsItsVoxels) {
  const test::TemporaryFolder folder;
  const at::Tensor voxels = (at::arange(4 * 3 * 5, at::kLong) * 17 - 500).reshape({4, 3, 5}).to(at::kShort);
  const std::string input = (folder.path() / "volume.raw").string(), output = (folder.path() / "shards").string();
  std::ofstream(input, std::ios::binary).write(static_cast<const char*>(voxels.const_data_ptr()), 4 * 3 * 5 * 2);
  const VolumeImportOptions options{.input = input,
                                    .output = output,
                                    .slices_per_shard = 3,
                                    .raw_shape = {4, 3, 5},
                                    .raw_spacing_mm = {0.5, 0.75, 2.0}};
  on_ranks(2, [&](Communicator& c, logging::Console& console) { import_volume(options, c, console); });
  const ShardCatalogue catalogue = ShardCatalogue::open(output);
  ASSERT_EQ(catalogue.num_slices(), 4);
  for (std::int64_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(catalogue.read_slice(i, {}).normal_dose_hu.equal(voxels[i]));
    EXPECT_EQ(catalogue.record(i).spacing_mm, (std::array<double, 3>{0.5, 0.75, 2.0}));
    EXPECT_EQ(catalogue.record(i).position_mm, 2.0 * static_cast<double>(i));
  }
  VolumeImportOptions wrong = options;
  wrong.output += "_2";
  wrong.raw_shape = {4, 3, 6};
  EXPECT_THAT(
      refusal_message(ExitCode::data,
                      [&] { on_ranks(1, [&](Communicator& c, logging::Console& k) { import_volume(wrong, c, k); }); }),
      HasSubstr("volume.raw"));
}

TEST(DoseSimulation, AddsNoiseThatDependsOnTheSliceAlone) {
  const test::TemporaryFolder folder;
  write_phantoms(small_phantoms(folder.path() / "phantoms"));
  const auto simulate = [&](const std::string& input, const std::string& output, int num_ranks) {
    const DoseSimulationOptions options{.input = folder.path() / input, .output = folder.path() / output};
    on_ranks(num_ranks, [&](Communicator& c, logging::Console& console) { simulate_low_dose(options, c, console); });
    return ShardCatalogue::open(folder.path() / output);
  };
  const ShardCatalogue alone = simulate("phantoms", "quarter", 1);
  EXPECT_EQ(alone.fingerprint(), simulate("phantoms", "quarter_3", 3).fingerprint());
  const Slice slice = alone.read_slice(3, {.low_dose = true, .tissue = true, .noise_free = true});
  const Slice source = ShardCatalogue::open(folder.path() / "phantoms").read_slice(3, {});
  EXPECT_TRUE(slice.normal_dose_hu.equal(source.normal_dose_hu));
  const at::Tensor noise = (slice.low_dose_hu - slice.normal_dose_hu).to(at::kFloat);
  EXPECT_GT(noise.std().item<double>(), 1.0);
  EXPECT_LT(std::abs(noise.mean().item<double>()), 0.2 * noise.std().item<double>());
  EXPECT_EQ(slice.record.dose_fraction, 0.25);

  // The same slice in another data set, at another place, gets the same noise.
  const SplitOptions split{
      .input = folder.path() / "phantoms", .output = folder.path() / "sets", .patients = {1, 1, 1}};
  on_ranks(1, [&](Communicator& c, logging::Console& console) { split_dataset(split, c, console); });
  const ShardCatalogue part = simulate("sets/test", "quarter_test", 1);
  bool was_found = false;
  for (std::int64_t id = 0; id < alone.num_slices(); ++id) {
    if (!(alone.record(id) == part.record(1))) continue;
    was_found = true;
    EXPECT_TRUE(
        alone.read_slice(id, {.low_dose = true}).low_dose_hu.equal(part.read_slice(1, {.low_dose = true}).low_dose_hu));
  }
  EXPECT_TRUE(was_found);
  EXPECT_THAT(refusal_message(ExitCode::data, [&] { simulate("phantoms", "phantoms", 1); }), HasSubstr("same folder"));
}

TEST(DatasetSplit, SetsShareNoPatientAndTogetherHoldEverySlice) {
  const test::TemporaryFolder folder;
  write_patients(folder.path() / "", {{"a", 4}, {"b", 7}, {"c", 4}, {"d", 2}, {"e", 5}, {"f", 1}});
  const ShardCatalogue catalogue = ShardCatalogue::open(folder.path());
  SplitOptions options{
      .input = folder.path().string(), .output = (folder.path() / "sets").string(), .fractions = {0.5, 0.3, 0.2}};
  const auto sets = plan_split(catalogue, options);
  std::set<std::string> patients;
  std::size_t num_slices = 0, num_patients = 0;
  for (const auto& ids : sets) {
    std::set<std::string> own;
    for (const std::int64_t id : ids) own.insert(catalogue.record(id).patient);
    EXPECT_FALSE(own.empty());
    num_patients += own.size();
    num_slices += ids.size();
    patients.insert(own.begin(), own.end());
  }
  EXPECT_EQ(num_patients, 6);
  EXPECT_EQ(patients.size(), 6);
  EXPECT_EQ(num_slices, 23);
  EXPECT_EQ(plan_split(catalogue, options), sets);

  on_ranks(2, [&](Communicator& c, logging::Console& console) { split_dataset(options, c, console); });
  for (std::size_t set = 0; set < 3; ++set) {
    const ShardCatalogue part = ShardCatalogue::open(folder.path() / "sets" / kSplitNames[set]);
    ASSERT_EQ(part.num_slices(), static_cast<std::int64_t>(sets[set].size()));
    for (std::int64_t i = 0; i < part.num_slices(); ++i) {
      EXPECT_EQ(part.record(i), catalogue.record(sets[set][static_cast<std::size_t>(i)]));
    }
  }
}

TEST(DatasetSplit, OnePatientGivesBlocksWithTheGapBetweenThem) {
  const test::TemporaryFolder folder;
  write_patients(folder.path(), {{"only", 40}});
  const ShardCatalogue catalogue = ShardCatalogue::open(folder.path());
  for (const std::int64_t gap : {0, 5, 9}) {
    const auto sets = plan_split(catalogue, {.fractions = {0.6, 0.2, 0.2}, .gap = gap});
    for (const auto& ids : sets) EXPECT_EQ(ids.back() - ids.front() + 1, static_cast<std::int64_t>(ids.size()));
    EXPECT_EQ(sets[1].front() - sets[0].back() - 1, gap);
    EXPECT_EQ(sets[2].front() - sets[1].back() - 1, gap);
    EXPECT_EQ(static_cast<std::int64_t>(sets[0].size() + sets[1].size() + sets[2].size()), 40 - 2 * gap);
  }
  refusal_message(ExitCode::options, [&] { plan_split(catalogue, {.gap = 20}); });
}

TEST(DatasetSplit, RangesAreTakenAsGivenButMustKeepTheGap) {
  const test::TemporaryFolder folder;
  write_patients(folder.path(), {{"only", 40}});
  const ShardCatalogue catalogue = ShardCatalogue::open(folder.path());
  const auto sets = plan_split(catalogue, {.slices = {"10:30", "-", "35:40"}});
  EXPECT_EQ(sets[0].front(), 10);
  EXPECT_EQ(sets[0].back(), 29);
  EXPECT_TRUE(sets[1].empty());
  EXPECT_EQ(sets[2].size(), 5);
  for (const std::vector<std::string>& wrong : {std::vector<std::string>{"0:30", "-", "34:40"},
                                                {"0:30", "20:25", "-"},
                                                {"0:41", "-", "-"},
                                                {"5:5", "-", "-"},
                                                {"a:b", "-", "-"},
                                                {"7", "-", "-"},
                                                {"0:10"}}) {
    EXPECT_THAT(refusal_message(ExitCode::options, [&] { plan_split(catalogue, {.slices = wrong}); }),
                HasSubstr("split"));
  }
}

TEST(DatasetSplit, ASetMayHaveSeveralRanges) {
  const test::TemporaryFolder folder;
  write_patients(folder.path(), {{"only", 40}});
  const ShardCatalogue catalogue = ShardCatalogue::open(folder.path());
  const auto sets = plan_split(catalogue, {.slices = {"30:40+0:5", "10:12", "17:20+22:25"}});
  EXPECT_EQ(sets[0], (std::vector<std::int64_t>{0, 1, 2, 3, 4, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39}));
  EXPECT_EQ(sets[2], (std::vector<std::int64_t>{17, 18, 19, 22, 23, 24}));
  // Too close in the middle, overlapping, and not a range.
  for (const char* train : {"0:5+13:15+30:40", "0:5+4:6", "0:5+"}) {
    EXPECT_THAT(refusal_message(ExitCode::options,
                                [&] {
                                  plan_split(catalogue, {.slices = {train, "10:12", "17:25"}});
                                }),
                HasSubstr("split"));
  }
}

TEST(DatasetSplit, NumbersOfPatientsAreMetOrRefused) {
  const test::TemporaryFolder folder;
  write_patients(folder.path(), {{"a", 2}, {"b", 2}, {"c", 2}, {"d", 2}});
  const ShardCatalogue catalogue = ShardCatalogue::open(folder.path());
  const auto sets = plan_split(catalogue, {.patients = {2, 0, 1}});
  EXPECT_EQ(sets[0].size(), 4);
  EXPECT_TRUE(sets[1].empty());
  EXPECT_EQ(sets[2].size(), 2);
  refusal_message(ExitCode::options, [&] { plan_split(catalogue, {.patients = {3, 1, 1}}); });
  refusal_message(ExitCode::options, [&] { plan_split(catalogue, {.patients = {3, -1, 1}}); });
}

TEST(DatasetReport, SaysWhatTheSetHoldsOnAnyNumberOfRanks) {
  const test::TemporaryFolder folder;
  write_patients(folder.path(), {{"a", 3}, {"b", 5}});
  for (const int num_ranks : {1, 3}) {
    const std::string said = on_ranks(num_ranks, [&](Communicator& c, logging::Console& console) {
      print_dataset_info(folder.path().string(), c, console);
    });
    // Values run from -1000 to 31 * 4 + 7 * 5 + 3 * 7 - 1000.
    EXPECT_THAT(said, AllOf(HasSubstr("-1000 to -820"), HasSubstr("6 x 8"), HasSubstr("0.5 x 0.75 x 2"),
                            HasSubstr(ShardCatalogue::open(folder.path()).fingerprint())));
  }
}

TEST(DatasetReport, VerifyNamesTheDamagedShard) {
  const test::TemporaryFolder folder;
  write_patients(folder.path(), {{"a", 3}, {"b", 5}});
  const auto verify = [&] {
    return on_ranks(2, [&](Communicator& c, logging::Console& k) { verify_dataset(folder.path().string(), c, k); });
  };
  EXPECT_THAT(verify(), HasSubstr("8 slices"));
  const auto path = folder.path() / "b.h5";
  const auto chunk = storage::read_chunk_index(storage::Hdf5File::open_read(path), kTissue).chunks[4];
  std::string bytes = test::bytes_of(path);
  bytes[chunk.address] ^= 4;
  std::ofstream(path, std::ios::binary) << bytes;
  EXPECT_THAT(refusal_message(ExitCode::data, verify),
              AllOf(HasSubstr("b.h5"), HasSubstr("tissue"), HasSubstr("slice 4")));
}

}  // namespace
}  // namespace leda::data
