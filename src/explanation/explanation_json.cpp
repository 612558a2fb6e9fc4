#include "explanation/explanation_json.hpp"

#include <nlohmann/json.hpp>

namespace leda::explanation {
namespace {

using OrderedJson = nlohmann::ordered_json;

// JSON has no NaN and no infinity: they are written as null.
OrderedJson agreement_json(const evaluation::WordAgreement& agreement) {
  OrderedJson json = OrderedJson::object();
  for (const evaluation::AgreementFigure& figure : evaluation::kAgreementFigures)
    json[figure.name] = agreement.*figure.value;
  return json;
}

OrderedJson json_of(const AgreementRow& row) {
  OrderedJson json = {{"image", row.image},
                      {"reference", "normal dose"},
                      {"mean", agreement_json(row.mean)},
                      {"deviation_over_patients", agreement_json(row.deviation_over_patients)},
                      {"patients", OrderedJson::array()}};
  for (const evaluation::PatientAgreement& patient : row.by_patient) {
    OrderedJson entry = agreement_json(patient.mean);
    entry["patient"] = patient.patient;
    entry["num_slices"] = patient.num_slices;
    json["patients"].push_back(entry);
  }
  for (const evaluation::AgreementFigure& figure : evaluation::kAgreementFigures) {
    OrderedJson& values = json["slices"][figure.name] = OrderedJson::array();
    for (const evaluation::WordAgreement& slice : row.slices) values.push_back(slice.*figure.value);
  }
  return json;
}

OrderedJson json_of(const MatchGain& gain) {
  return {{"mean", gain.match_rate.mean},
          {"interval_95_percent", {gain.match_rate.low, gain.match_rate.high}},
          {"bootstrap_unit", gain.unit},
          {"num_units", gain.num_units},
          {"num_resamples", gain.match_rate.num_resamples}};
}

class LevelWriter {
 public:
  LevelWriter(const Explanation& explanation, const language::Vocabulary& vocabulary)
      : explanation_(explanation), vocabulary_(vocabulary) {}

  OrderedJson write(const LevelExplanation& level) const {
    OrderedJson json = {
        {"level", level.level},     {"cell_pixels", level.cell_pixels},     {"rows", level.rows},
        {"columns", level.columns}, {"num_positions", level.num_positions}, {"agreement", OrderedJson::array()}};
    for (const AgreementRow& row : level.agreement) json["agreement"].push_back(json_of(row));
    if (level.gain) json["match_rate_denoised_minus_low_dose"] = json_of(*level.gain);
    for (const TissueRow& row : level.tissue) {
      json["tissue"].push_back({{"image", row.image},
                                {"match_rate", row.all},
                                {"non_air_match_rate", row.non_air},
                                {"num_positions", row.num_positions},
                                {"num_non_air_positions", row.num_non_air_positions}});
    }
    json["words"] = OrderedJson::array();
    for (const WordRow& row : level.words) json["words"].push_back(word_json(row));
    json["changes"] = OrderedJson::array();
    for (const ChangeTable& table : level.changes) json["changes"].push_back(change_json(table));
    return json;
  }

 private:
  const std::string& word(std::int64_t token) const { return vocabulary_.words.at(static_cast<std::size_t>(token)); }

  OrderedJson word_json(const WordRow& row) const {
    OrderedJson json = {{"word", word(row.token)}, {"token", row.token}};
    for (std::size_t k = 0; k < row.counts.size(); ++k) {
      json["counts"][explanation_.images[k]] = row.counts[k];
      json["mean_margins"][explanation_.images[k]] = row.margins[k];
    }
    return json;
  }

  OrderedJson change_json(const ChangeTable& table) const {
    OrderedJson json = {{"from", table.from_image},
                        {"to", table.to_image},
                        {"num_changed", table.num_changed},
                        {"words", OrderedJson::array()}};
    for (const ChangeRow& row : table.rows) {
      json["words"].push_back({{"from", word(row.from)},
                               {"to", word(row.to)},
                               {"from_token", row.from},
                               {"to_token", row.to},
                               {"count", row.count},
                               {"num_slices", row.num_slices},
                               {"positions", row.positions}});
    }
    return json;
  }

  const Explanation& explanation_;
  const language::Vocabulary& vocabulary_;
};

}  // namespace

std::string to_json(const Explanation& explanation, const language::Vocabulary& vocabulary,
                    const ExplanationSources& sources) {
  OrderedJson json = {
      {"format", "leda explanation"},
      {"version", 1},
      {"data_folder", sources.data_folder},
      {"data_fingerprint", explanation.data_fingerprint},
      {"autoencoder", sources.autoencoder},
      {"autoencoder_checksum", sources.autoencoder_checksum},
      {"autoencoder_window_hu", {explanation.autoencoder_window.low_hu, explanation.autoencoder_window.high_hu}},
      {"vocabulary_source", vocabulary.source},
      {"vocabulary_hash", vocabulary.hash},
      {"vocabulary_size", vocabulary.size()},
      {"vocabulary_control", sources.codebook_ablation},
      {"denoiser", sources.denoiser},
      {"images", explanation.images},
      {"num_top_words", explanation.num_top_words},
      {"num_slices", explanation.slice_ids.size()},
      {"num_patients", explanation.patients.size()},
      {"slice_ids", explanation.slice_ids},
      {"levels", OrderedJson::array()}};
  const LevelWriter writer(explanation, vocabulary);
  for (const LevelExplanation& level : explanation.levels) json["levels"].push_back(writer.write(level));
  // A word that is not UTF-8 is written with replacement characters.
  return json.dump(1, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

}  // namespace leda::explanation
