#include "evaluation/evaluation.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"
#include "data/shards/rank_walk.hpp"
#include "evaluation/classical_baselines.hpp"
#include "evaluation/dead_network.hpp"
#include "evaluation/image_figures.hpp"
#include "evaluation/prepared_slice.hpp"
#include "evaluation/statistics.hpp"
#include "evaluation/word_measurements.hpp"

namespace leda::evaluation {
namespace {

constexpr const char* kLowDose = "low dose";

// A method of such a name would be taken for a seed of that row.
void require_names_of_their_own(const std::vector<Method>& methods) {
  for (const Method& method : methods) {
    if (method.name != kLowDose && method.name != kBestGaussian && method.name != kNonLocalMeans) continue;
    throw base::ErrorOnAllRanks(
        base::ExitCode::options,
        {.what = "a denoiser has the name of a row that every table has",
         .value = method.name,
         .why = "its figures would be mixed with those of that row",
         .remedy = fmt::format("give it another name than {}, {} and {}", kLowDose, kBestGaussian, kNonLocalMeans)});
  }
}

// One image of each slice; a trained method is one candidate per seed.
struct Candidate {
  std::string name{};
  std::string parameter{};
  double parameter_value = 0.0;
  const Method* method = nullptr;  // none for what needs no training
  std::function<at::Tensor(const PreparedSlice&)> denoise_hu{};
  DeadNetworkSums dead{};
};

std::vector<Candidate> candidates_of(const TunedClassicalBaselines& tuned, const std::vector<Method>& methods) {
  std::vector<Candidate> candidates(1);
  candidates[0].name = kLowDose;
  candidates[0].denoise_hu = [](const PreparedSlice& slice) { return slice.low_dose_hu; };
  for (const ClassicalBaseline& baseline : tuned.baselines) {
    Candidate candidate{.name = baseline.name, .parameter = baseline.parameter};
    candidate.parameter_value = baseline.parameter_value;
    candidate.denoise_hu = [&baseline](const PreparedSlice& slice) { return baseline.denoise_hu(slice.low_dose_hu); };
    candidates.push_back(std::move(candidate));
  }
  for (const Method& method : methods) candidates.push_back({.name = method.name, .method = &method});
  return candidates;
}

at::Tensor run_network(Candidate& candidate, const PreparedSlice& slice, std::int64_t slice_id,
                       const EvaluationOptions& options) {
  const at::Tensor denoised_hu = candidate.method->denoise_hu(slice.low_dose_hu);
  if (!at::isfinite(denoised_hu).all().item<bool>()) {
    throw base::Error(base::ExitCode::non_finite,
                      {.what = fmt::format("the denoiser \"{}\" (seed {}) answers test slice {} with NaN or infinity",
                                           candidate.name, candidate.method->seed, slice_id),
                       .value = "",
                       .why = "no figure can be taken of such an image",
                       .remedy = "train it again with a smaller learning rate"});
  }
  // Not clipped: an answer of exactly 0 is one that a ReLU cut off.
  const at::Tensor output = (denoised_hu - options.window.low_hu) / options.window.range_hu();
  candidate.dead.add(output, ct::to_network_range(slice.low_dose_hu, options.window),
                     ct::to_network_range(slice.references_hu.front(), options.window));
  return denoised_hu;
}

struct SliceFigures {
  at::Tensor figures;   // [candidate, slice, reference, figure], float64
  at::Tensor measured;  // [slice], int64, 0 or 1
};

// Zero but for this rank's slices; the sum over ranks leaves each number as its owner found it.
std::optional<SliceFigures> measure_slices(const data::ShardCatalogue& test, std::vector<Candidate>& candidates,
                                           std::int64_t num_references, const EvaluationOptions& options,
                                           WordMeasurements& words, distributed::Communicator& communicator) {
  const auto num_candidates = static_cast<std::int64_t>(candidates.size());
  const auto num_figures = static_cast<std::int64_t>(image_figures().size());
  SliceFigures all{.figures = at::zeros({num_candidates, test.num_slices(), num_references, num_figures}, at::kDouble),
                   .measured = at::zeros({test.num_slices()}, at::kLong)};
  auto figures = all.figures.accessor<double, 4>();
  auto measured = all.measured.accessor<std::int64_t, 1>();
  const auto visit = [&](std::int64_t id) {
    const PreparedSlice slice = prepare_slice(test, id, options.window);
    if (!slice.measurable) return;
    measured[id] = 1;
    words.start_slice(id, slice.references_hu, slice.body);
    for (std::int64_t c = 0; c < num_candidates; ++c) {
      Candidate& candidate = candidates[static_cast<std::size_t>(c)];
      const at::Tensor image_hu =
          candidate.method ? run_network(candidate, slice, id, options) : candidate.denoise_hu(slice);
      words.add(c, image_hu);
      for (std::int64_t r = 0; r < num_references; ++r) {
        const at::Tensor& reference_hu = slice.references_hu[static_cast<std::size_t>(r)];
        const FigureValues found = measure_image(image_hu, reference_hu, options.window, slice.body);
        for (std::int64_t f = 0; f < num_figures; ++f) figures[c][id][r][f] = found[static_cast<std::size_t>(f)];
      }
    }
  };
  const data::RankWalk walk{.activity = "evaluation, slice", .should_stop = options.should_stop};
  if (!data::walk_by_rank(test.num_slices(), communicator, walk, visit)) return std::nullopt;
  distributed::all_reduce(communicator, all.figures);
  distributed::all_reduce(communicator, all.measured);
  if (words.is_wanted()) distributed::all_reduce(communicator, words.figures());
  for (Candidate& candidate : candidates) distributed::all_reduce(communicator, candidate.dead.sums());
  return all;
}

// `slice_by_figure`: [slice, figure].
FigureValues mean_figures(const at::Tensor& slice_by_figure, const std::vector<std::int64_t>& slice_ids) {
  const auto cells = slice_by_figure.accessor<double, 2>();
  FigureValues means(image_figures().size());
  for (std::size_t f = 0; f < means.size(); ++f) {
    for (const std::int64_t id : slice_ids) means[f] += cells[id][static_cast<std::int64_t>(f)];
    means[f] /= static_cast<double>(slice_ids.size());
  }
  return means;
}

Spread spread_of(const std::vector<FigureValues>& by_seed, const std::function<double(const FigureValues&)>& value) {
  std::vector<double> values;
  for (const FigureValues& figures : by_seed) values.push_back(value(figures));
  return {.mean = mean(values), .deviation = sample_deviation(values)};
}

// The measured slices and whose they are.
struct MeasuredSlices {
  std::vector<std::int64_t> ids;
  std::vector<std::string> patients;                   // each once
  std::vector<std::vector<std::int64_t>> patient_ids;  // slices by patient
  std::vector<std::string> patient_of_slice;           // as ids
};

MeasuredSlices measured_slices(const data::ShardCatalogue& test, const at::Tensor& measured) {
  MeasuredSlices slices;
  const auto is_measured = measured.accessor<std::int64_t, 1>();
  for (std::int64_t id = 0; id < test.num_slices(); ++id) {
    if (is_measured[id] == 0) continue;
    const std::string& patient = test.record(id).patient;
    auto known = std::find(slices.patients.begin(), slices.patients.end(), patient);
    if (known == slices.patients.end()) {
      known = slices.patients.insert(slices.patients.end(), patient);
      slices.patient_ids.emplace_back();
    }
    slices.patient_ids[static_cast<std::size_t>(known - slices.patients.begin())].push_back(id);
    slices.ids.push_back(id);
    slices.patient_of_slice.push_back(patient);
  }
  if (!slices.ids.empty()) return slices;
  throw base::ErrorOnAllRanks(base::ExitCode::data,
                              {.what = test.folder().string() + ": no test slice shows a body",
                               .value = fmt::format("{} slices without pixels above -500 HU", test.num_slices()),
                               .why = "all figures are taken inside the body",
                               .remedy = "look at the data with `leda_data info`"});
}

// `seeds_by_slice_by_figure`: [seed, slice, figure] of one method against one reference.
ReferenceFigures figures_against(const std::string& reference, const at::Tensor& seeds_by_slice_by_figure,
                                 const MeasuredSlices& slices, double low_dose_rmse_hu) {
  ReferenceFigures result{.reference = reference};
  for (std::int64_t seed = 0; seed < seeds_by_slice_by_figure.size(0); ++seed) {
    result.by_seed.push_back(mean_figures(seeds_by_slice_by_figure[seed], slices.ids));
  }
  for (std::size_t f = 0; f < image_figures().size(); ++f) {
    result.figures.push_back(spread_of(result.by_seed, [f](const FigureValues& values) { return values[f]; }));
  }
  result.gain_percent = spread_of(
      result.by_seed, [&](const FigureValues& values) { return gain_percent(values[kRmseFigure], low_dose_rmse_hu); });

  const at::Tensor over_seeds = seeds_by_slice_by_figure.mean(0);
  for (std::size_t p = 0; p < slices.patients.size(); ++p) {
    result.by_patient.push_back({.patient = slices.patients[p],
                                 .num_slices = static_cast<std::int64_t>(slices.patient_ids[p].size()),
                                 .mean = mean_figures(over_seeds, slices.patient_ids[p])});
  }
  const auto cells = over_seeds.accessor<double, 2>();
  for (const std::int64_t id : slices.ids)
    result.slice_rmse_hu.push_back(cells[id][static_cast<std::int64_t>(kRmseFigure)]);
  return result;
}

// Candidates of equal name become one row, in the order of their first appearance.
std::vector<MethodFigures> rows_of(const std::vector<Candidate>& candidates, const SliceFigures& all,
                                   const WordMeasurements& words, const MeasuredSlices& slices,
                                   const std::vector<std::string>& references) {
  std::vector<MethodFigures> rows;
  std::vector<std::vector<at::Tensor>> figures_of_row;  // [slice, reference, figure] per seed
  std::vector<std::vector<std::int64_t>> candidates_of_row;
  for (std::size_t c = 0; c < candidates.size(); ++c) {
    const Candidate& candidate = candidates[c];
    auto row = std::find_if(rows.begin(), rows.end(), [&](const auto& r) { return r.name == candidate.name; });
    if (row == rows.end()) {
      row = rows.insert(rows.end(), MethodFigures{.name = candidate.name,
                                                  .parameter = candidate.parameter,
                                                  .parameter_value = candidate.parameter_value});
      figures_of_row.emplace_back();
      candidates_of_row.emplace_back();
    }
    candidates_of_row[static_cast<std::size_t>(row - rows.begin())].push_back(static_cast<std::int64_t>(c));
    figures_of_row[static_cast<std::size_t>(row - rows.begin())].push_back(all.figures[static_cast<std::int64_t>(c)]);
    if (!candidate.method) continue;
    row->seeds.push_back(candidate.method->seed);
    if (candidate.dead.is_dead()) row->dead_seeds.push_back(candidate.method->seed);
  }
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const at::Tensor figures = at::stack(figures_of_row[r]);
    for (std::size_t k = 0; k < references.size(); ++k) {
      const double low_dose_rmse_hu =
          mean_figures(all.figures[0].select(1, static_cast<std::int64_t>(k)), slices.ids)[kRmseFigure];
      rows[r].against.push_back(
          figures_against(references[k], figures.select(2, static_cast<std::int64_t>(k)), slices, low_dose_rmse_hu));
      rows[r].against.back().words =
          words.levels(candidates_of_row[r], static_cast<std::int64_t>(k), slices.patients, slices.patient_ids);
    }
  }
  return rows;
}

std::vector<MethodComparison> comparisons_of(const std::vector<MethodFigures>& rows, const MeasuredSlices& slices) {
  const auto is_trained = [](const MethodFigures& row) { return !row.seeds.empty(); };
  const auto first = std::find_if(rows.begin(), rows.end(), is_trained);
  std::vector<MethodComparison> comparisons;
  if (first == rows.end()) return comparisons;
  const bool by_patient = slices.patients.size() >= kMinPatientsToDraw;
  std::vector<std::string> units = slices.patient_of_slice;
  for (std::size_t i = 0; !by_patient && i < units.size(); ++i) units[i] = std::to_string(slices.ids[i]);
  for (auto second = first + 1; second != rows.end(); ++second) {
    for (std::size_t k = 0; k < first->against.size(); ++k) {
      std::vector<double> differences = second->against[k].slice_rmse_hu;
      for (std::size_t i = 0; i < differences.size(); ++i) differences[i] -= first->against[k].slice_rmse_hu[i];
      comparisons.push_back({.first = first->name,
                             .second = second->name,
                             .reference = first->against[k].reference,
                             .unit = by_patient ? "patients" : "slices",
                             .num_units = static_cast<std::int64_t>(by_patient ? slices.patients.size() : units.size()),
                             .rmse_hu = paired_difference(differences, units)});
    }
  }
  return comparisons;
}

}  // namespace

std::optional<EvaluationResult> evaluate(const data::ShardCatalogue& test, const data::ShardCatalogue& validation,
                                         const std::vector<Method>& methods, const EvaluationOptions& options,
                                         distributed::Communicator& communicator, logging::Console& console) {
  const c10::NoGradGuard no_gradients;
  require_low_dose(test);
  require_names_of_their_own(methods);
  const std::optional<TunedClassicalBaselines> found = tune_classical_baselines(
      validation, options.window, options.max_tuning_slices, communicator, options.should_stop);
  if (!found) return std::nullopt;
  const TunedClassicalBaselines& tuned = *found;
  for (const ClassicalBaseline& baseline : tuned.baselines) {
    console.info(fmt::format("{}: {}, the best on {} validation slices", baseline.name, baseline.parameter,
                             tuned.tuning_slice_ids.size()));
  }

  EvaluationResult result;
  result.window = options.window;
  result.references = reference_names(test);
  std::vector<Candidate> candidates = candidates_of(tuned, methods);
  const auto num_references = static_cast<std::int64_t>(result.references.size());
  WordMeasurements words(options.words, static_cast<std::int64_t>(candidates.size()), test.num_slices(), num_references,
                         options.num_top_words);
  const std::optional<SliceFigures> measured =
      measure_slices(test, candidates, num_references, options, words, communicator);
  if (!measured) return std::nullopt;
  const SliceFigures& all = *measured;
  const MeasuredSlices slices = measured_slices(test, all.measured);
  result.slice_ids = slices.ids;
  result.num_slices_left_out = test.num_slices() - result.num_slices();
  result.patients = slices.patients;
  result.tuning_slice_ids = tuned.tuning_slice_ids;
  result.test_fingerprint = test.fingerprint();
  result.validation_fingerprint = validation.fingerprint();
  result.lowest_dose_fraction = result.highest_dose_fraction = test.record(slices.ids.front()).dose_fraction;
  for (const std::int64_t id : slices.ids) {
    result.lowest_dose_fraction = std::min(result.lowest_dose_fraction, test.record(id).dose_fraction);
    result.highest_dose_fraction = std::max(result.highest_dose_fraction, test.record(id).dose_fraction);
  }
  result.rows = rows_of(candidates, all, words, slices, result.references);
  result.comparisons = comparisons_of(result.rows, slices);
  for (const MethodFigures& row : result.rows) {
    for (const std::int64_t seed : row.dead_seeds) {
      console.warning(fmt::format("{} (seed {}) died: it takes away none of the noise", row.name, seed));
    }
  }
  return result;
}

}  // namespace leda::evaluation
