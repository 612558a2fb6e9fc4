#include "evaluation/word_measurements.hpp"

#include <ATen/ops/zeros.h>

#include "evaluation/statistics.hpp"

namespace leda::evaluation {
namespace {

constexpr auto kNumAgreementFigures = static_cast<std::int64_t>(kAgreementFigures.size());

}  // namespace

WordMeasurements::WordMeasurements(const WordReader* reader, std::int64_t num_candidates, std::int64_t num_slices,
                                   std::int64_t num_references, std::int64_t num_top_words)
    : reader_(reader), num_top_words_(num_top_words) {
  const std::int64_t num_levels = reader ? static_cast<std::int64_t>(reader->num_levels()) : 0;
  figures_ = at::zeros({num_candidates, num_slices, num_references, num_levels, 1 + kNumAgreementFigures}, at::kDouble);
}

void WordMeasurements::start_slice(std::int64_t slice_id, const std::vector<at::Tensor>& references_hu,
                                   const at::Tensor& body) {
  if (!reader_) return;
  slice_id_ = slice_id;
  references_.clear();
  in_body_.clear();
  for (const at::Tensor& image_hu : references_hu) references_.push_back(reader_->read(image_hu, false));
  for (const LevelWords& level : references_.front()) {
    in_body_.push_back(level.exists ? cells_in_body(body, level) : at::Tensor());
  }
}

void WordMeasurements::add(std::int64_t candidate, const at::Tensor& image_hu) {
  if (!reader_) return;
  auto cells = figures_.accessor<double, 5>();
  const std::vector<LevelWords> words = reader_->read(image_hu, false);
  for (std::size_t r = 0; r < references_.size(); ++r) {
    for (std::size_t l = 0; l < words.size(); ++l) {
      if (!words[l].exists) continue;
      const WordAgreement found =
          word_agreement(words[l], references_[r][l], reader_->codebook(), in_body_[l], num_top_words_);
      auto values = cells[candidate][slice_id_][static_cast<std::int64_t>(r)][static_cast<std::int64_t>(l)];
      values[0] = 1.0;
      for (std::int64_t k = 0; k < kNumAgreementFigures; ++k) {
        values[1 + k] = found.*kAgreementFigures[static_cast<std::size_t>(k)].value;
      }
    }
  }
}

WordAgreement WordMeasurements::figure(std::int64_t candidate, std::int64_t slice_id, std::int64_t reference,
                                       std::int64_t level) const {
  const auto values = figures_.accessor<double, 5>()[candidate][slice_id][reference][level];
  WordAgreement agreement;
  for (std::int64_t k = 0; k < kNumAgreementFigures; ++k) {
    agreement.*kAgreementFigures[static_cast<std::size_t>(k)].value = values[1 + k];
  }
  return agreement;
}

std::vector<LevelAgreement> WordMeasurements::levels(
    const std::vector<std::int64_t>& candidates, std::int64_t reference, const std::vector<std::string>& patients,
    const std::vector<std::vector<std::int64_t>>& patient_slice_ids) const {
  std::vector<LevelAgreement> levels;
  for (std::int64_t l = 0; l < figures_.size(3); ++l) {
    const std::int64_t any_slice = patient_slice_ids.front().front();
    if (figures_.accessor<double, 5>()[0][any_slice][reference][l][0] == 0.0) continue;  // absent on this image size
    LevelAgreement& level = levels.emplace_back(LevelAgreement{.level = static_cast<int>(l) + 1});
    std::vector<std::vector<WordAgreement>> by_patient(patients.size());
    for (const std::int64_t candidate : candidates) {
      std::vector<WordAgreement> slices;
      for (std::size_t p = 0; p < patients.size(); ++p) {
        for (const std::int64_t id : patient_slice_ids[p]) {
          slices.push_back(figure(candidate, id, reference, l));
          by_patient[p].push_back(slices.back());
        }
      }
      level.by_seed.push_back(mean_agreement(slices));
    }
    for (std::size_t p = 0; p < patients.size(); ++p) {
      level.by_patient.push_back(
          {patients[p], static_cast<std::int64_t>(patient_slice_ids[p].size()), mean_agreement(by_patient[p])});
    }
    for (std::size_t k = 0; k < kAgreementFigures.size(); ++k) {
      std::vector<double> values;
      for (const WordAgreement& seed : level.by_seed) values.push_back(seed.*kAgreementFigures[k].value);
      level.figures[k] = {.mean = mean(values), .deviation = sample_deviation(values)};
    }
  }
  return levels;
}

}  // namespace leda::evaluation
