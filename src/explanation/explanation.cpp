#include "explanation/explanation.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.hpp"
#include "data/shards/rank_walk.hpp"
#include "evaluation/body_mask.hpp"
#include "evaluation/prepared_slice.hpp"
#include "explanation/explanation_sums.hpp"
#include "explanation/slice_words.hpp"
#include "language/candidate_words.hpp"
#include "language/tissue_match.hpp"
#include "logging/progress_line.hpp"

namespace leda::explanation {
namespace {

constexpr double kSecondsBetweenLines = 10.0;
constexpr std::size_t kMaxNamesInMessage = 10;

[[noreturn]] void refuse(const std::string& what, const std::string& value, const std::string& why,
                         const std::string& remedy) {
  throw base::ErrorOnAllRanks(base::ExitCode::options, {what, value, why, remedy});
}

std::vector<int> checked_levels(const std::vector<int>& wanted, std::size_t num_levels) {
  std::set<int> levels(wanted.begin(), wanted.end());
  for (int level = 1; wanted.empty() && level <= static_cast<int>(num_levels); ++level) levels.insert(level);
  for (const int level : levels) {
    if (level >= 1 && level <= static_cast<int>(num_levels)) continue;
    refuse("explain.levels", fmt::format("{}", level),
           fmt::format("the autoencoder's pyramid has levels 1 to {}", num_levels), "leave it empty for all levels");
  }
  return {levels.begin(), levels.end()};
}

std::vector<std::string> image_names(const data::ShardCatalogue& catalogue, const ExplainOptions& options) {
  std::vector<std::string> names;
  if (catalogue.has_low_dose()) names.emplace_back("low dose");
  if (options.denoise_hu) names.emplace_back("denoised");
  names.emplace_back("normal dose");
  return names;
}

// Tissue with most pixels in each cell, per level (language/candidate_words); none without labels.
std::vector<at::Tensor> cell_tissues(const data::Slice& slice, const language::CandidateWords& cells,
                                     const std::vector<evaluation::LevelWords>& levels) {
  std::vector<language::LevelGrid> grids;
  for (const evaluation::LevelWords& level : levels) {
    grids.push_back(level.exists ? language::LevelGrid{level.rows(), level.columns()} : language::LevelGrid{});
  }
  std::vector<at::Tensor> tissues;
  for (const language::LevelCandidates& level : cells.of_tissue_maps(slice.tissue.unsqueeze(0), grids)) {
    tissues.push_back(level.exists ? level.tissue[0] : at::Tensor());
  }
  return tissues;
}

// Each once, in the order of first appearance; of one patient where one is given.
std::vector<std::string> series_of(const data::ShardCatalogue& catalogue, const std::string& patient) {
  std::vector<std::string> names;
  std::set<std::string> known;
  for (std::int64_t id = 0; id < catalogue.num_slices(); ++id) {
    const data::SliceRecord& record = catalogue.record(id);
    if (!patient.empty() && record.patient != patient) continue;
    if (known.insert(record.series).second) names.push_back(record.series);
  }
  return names;
}

// Refuses a name that is none of these; an empty one restricts nothing.
void require_name(const std::string& option, const std::string& name, std::vector<std::string> names,
                  const std::string& introduction) {
  if (name.empty() || std::find(names.begin(), names.end(), name) != names.end()) return;
  if (names.size() > kMaxNamesInMessage) {
    names.resize(kMaxNamesInMessage);
    names.emplace_back("...");
  }
  refuse(option, fmt::format("'{}'", name), fmt::format("{} {}", introduction, fmt::join(names, ", ")),
         "write a name as the shards have it (docs/formats/shard.md), or leave it empty for all");
}

// This rank's work on one slice.
class SliceExplainer {
 public:
  SliceExplainer(const data::ShardCatalogue& catalogue, const evaluation::WordReader& reader,
                 const ExplainOptions& options)
      : catalogue_(catalogue), reader_(reader), options_(options) {
    if (!options.tissue_words || !catalogue.has_tissue()) return;
    cells_.emplace(*options.tissue_words, reader.codebook(), language::CandidateOptions{},
                   reader.autoencoder().options().strides, reader.autoencoder().downsampling());
  }

  SliceWords explain(std::int64_t slice_id, PictureSlice& images) const {
    const data::Slice slice =
        catalogue_.read_slice(slice_id, {.low_dose = catalogue_.has_low_dose(), .tissue = cells_.has_value()});
    if (slice.low_dose_hu.defined()) images.images_hu.push_back(slice.low_dose_hu.to(at::kDouble));
    if (options_.denoise_hu) images.images_hu.push_back(denoised(images.images_hu.front(), slice_id));
    images.images_hu.push_back(slice.normal_dose_hu.to(at::kDouble));
    for (const at::Tensor& image_hu : images.images_hu) images.words.push_back(reader_.read(image_hu, true));
    SliceWords words{.slice_id = slice_id};
    words.levels = tally_words(images.words, reader_.codebook(), evaluation::body_mask(slice.normal_dose_hu),
                               options_.num_top_words);
    if (cells_) add_tissue(slice, images, words);
    return words;
  }

 private:
  at::Tensor denoised(const at::Tensor& low_dose_hu, std::int64_t slice_id) const {
    const at::Tensor image_hu = options_.denoise_hu(low_dose_hu);
    if (at::isfinite(image_hu).all().item<bool>()) return image_hu;
    throw base::Error(base::ExitCode::non_finite,
                      {.what = fmt::format("the denoiser answers slice {} with NaN or infinity", slice_id),
                       .value = "",
                       .why = "no word can be assigned to such an image",
                       .remedy = "train it again with a smaller learning rate"});
  }

  void add_tissue(const data::Slice& slice, const PictureSlice& images, SliceWords& words) const {
    const std::vector<at::Tensor> tissues = cell_tissues(slice, *cells_, images.words.back());
    for (std::size_t l = 0; l < words.levels.size(); ++l) {
      if (!words.levels[l].exists) continue;
      for (const auto& image : images.words) {
        const at::Tensor counts =
            language::tissue_match_counts(*options_.tissue_words, image[l].tokens, tissues[l]).cpu().contiguous();
        const std::int64_t* values = counts.const_data_ptr<std::int64_t>();
        words.levels[l].tissue.push_back({values[0], values[1], values[2], values[3]});
      }
    }
  }

  const data::ShardCatalogue& catalogue_;
  const evaluation::WordReader& reader_;
  const ExplainOptions& options_;
  std::optional<language::CandidateWords> cells_;
};

}  // namespace

std::vector<std::int64_t> chosen_slices(const data::ShardCatalogue& catalogue, const SliceChoice& choice) {
  const std::string folder = catalogue.folder().string();
  const std::set<std::int64_t> wanted(choice.slices.begin(), choice.slices.end());
  if (!wanted.empty() && (*wanted.begin() < 0 || *wanted.rbegin() >= catalogue.num_slices())) {
    refuse("explain.slices", fmt::format("{}", *wanted.begin() < 0 ? *wanted.begin() : *wanted.rbegin()),
           fmt::format("{} has slices 0 to {}", folder, catalogue.num_slices() - 1), "leave it empty for all slices");
  }
  require_name("explain.patient", choice.patient, catalogue.patients(), folder + " has the patients");
  const std::string of_patient = choice.patient.empty() ? "" : fmt::format(" of patient '{}'", choice.patient);
  require_name("explain.series" + of_patient, choice.series, series_of(catalogue, choice.patient),
               folder + " has the series");
  std::vector<std::int64_t> chosen, others;
  for (std::int64_t id = 0; id < catalogue.num_slices(); ++id) {
    const data::SliceRecord& record = catalogue.record(id);
    if (!choice.patient.empty() && record.patient != choice.patient) continue;
    if (!choice.series.empty() && record.series != choice.series) continue;
    (wanted.empty() || wanted.contains(id) ? chosen : others).push_back(id);
  }
  if (!chosen.empty()) return chosen;
  refuse("explain.slices: none is of explain.patient and explain.series", fmt::format("{}", fmt::join(wanted, ", ")),
         fmt::format("theirs lie among the slices {} to {}", others.front(), others.back()),
         "leave it empty for all slices of the patient and the series");
}

std::optional<ExplainedSlices> explain(const data::ShardCatalogue& catalogue, const evaluation::WordReader& reader,
                                       const ExplainOptions& options, distributed::Communicator& communicator,
                                       logging::Console& console) {
  const c10::NoGradGuard no_gradients;
  if (options.denoise_hu) evaluation::require_low_dose(catalogue);
  const std::vector<std::int64_t>& ids = options.slice_ids;
  const auto num_slices = static_cast<std::int64_t>(ids.size());
  ExplainedSlices result;
  for (const std::int64_t k : evaluation::evenly_spaced_ids(num_slices, options.num_pictures)) {
    if (options.num_pictures > 0) result.picture_slice_ids.push_back(ids[static_cast<std::size_t>(k)]);
  }
  const std::set<std::int64_t> drawn(result.picture_slice_ids.begin(), result.picture_slice_ids.end());
  ExplanationSums sums(image_names(catalogue, options), checked_levels(options.levels, reader.num_levels()),
                       options.max_positions);
  const SliceExplainer explainer(catalogue, reader, options);
  logging::ProgressLine progress(console, "words", num_slices, 0, kSecondsBetweenLines);
  SliceWords words;  // of this rank's slice in the round
  const auto visit = [&](std::int64_t mine) {
    const std::int64_t id = ids[static_cast<std::size_t>(mine)];
    communicator.note(fmt::format("explanation, slice {}", id));
    PictureSlice images;
    words = explainer.explain(id, images);
    if (drawn.contains(id)) result.pictures.emplace(id, std::move(images));
  };
  // One round after the other, rank by rank: the order of slices.
  const auto add_round = [&](std::int64_t num_visited) {
    for (const std::string& bytes : distributed::all_gather_texts(communicator, to_bytes(words))) {
      const SliceWords slice = slice_words_of(bytes);
      if (slice.slice_id >= 0) sums.add(slice, catalogue.record(slice.slice_id).patient);
    }
    words = {};
    progress.update(num_visited, "");
  };
  const data::RankWalk walk{.should_stop = options.should_stop, .after_round = add_round};
  if (!data::walk_by_rank(num_slices, communicator, walk, visit)) return std::nullopt;
  progress.finish();
  result.explanation = sums.result();
  result.explanation.data_fingerprint = catalogue.fingerprint();
  result.explanation.num_top_words = options.num_top_words;
  result.explanation.autoencoder_window = reader.window();
  if (!result.explanation.levels.empty()) return result;
  throw base::ErrorOnAllRanks(base::ExitCode::data,
                              {.what = catalogue.folder().string() + ": its images are too small for these levels",
                               .value = fmt::format("{} x {} pixels", catalogue.rows(), catalogue.columns()),
                               .why = "no position of the token pyramid lies on them",
                               .remedy = "leave explain.levels empty, or use larger images"});
}

}  // namespace leda::explanation
