#include "training/stages/patient_means.hpp"

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <map>
#include <utility>

#include "base/error.hpp"

namespace leda::training {

PatientMeans::PatientMeans(const data::ShardCatalogue& catalogue, std::vector<std::string> names)
    : catalogue_(catalogue),
      names_(std::move(names)),
      figures_(at::zeros({catalogue.num_slices(), static_cast<std::int64_t>(names_.size()) + 1}, at::kDouble)) {}

void PatientMeans::add(std::int64_t slice_id, const std::vector<double>& figures) {
  auto row = figures_.accessor<double, 2>()[slice_id];
  for (std::size_t i = 0; i < figures.size(); ++i) row[static_cast<std::int64_t>(i)] = figures[i];
  row[static_cast<std::int64_t>(figures.size())] = 1.0;
}

std::vector<logging::Scalar> PatientMeans::reduce(distributed::Communicator& communicator) {
  // Each slice is one rank's, so this sum rounds nothing; what does is done in the order of slices on every rank.
  distributed::all_reduce(communicator, figures_);
  const auto figures = figures_.accessor<double, 2>();
  const std::size_t num_names = names_.size();
  std::map<std::string, std::vector<double>> sums_of_patient;  // last: the number of slices
  for (std::int64_t id = 0; id < figures.size(0); ++id) {
    std::vector<double>& sums = sums_of_patient[catalogue_.record(id).patient];
    sums.resize(num_names + 1, 0.0);
    for (std::size_t i = 0; i <= num_names; ++i) sums[i] += figures[id][static_cast<std::int64_t>(i)];
  }
  std::erase_if(sums_of_patient, [&](const auto& entry) { return entry.second[num_names] == 0.0; });
  if (sums_of_patient.empty()) {
    throw base::ErrorOnAllRanks(base::ExitCode::data,
                                {.what = catalogue_.folder().string() + ": no slice of it can be measured",
                                 .value = fmt::format("{} slices without a body", catalogue_.num_slices()),
                                 .why = "the best step is chosen by what is measured inside the body",
                                 .remedy = "look at the data with `leda_data info`"});
  }
  std::vector<logging::Scalar> scalars;
  for (std::size_t i = 0; i < num_names; ++i) {
    double sum = 0.0;
    for (const auto& [patient, sums] : sums_of_patient) sum += sums[i] / sums[num_names];
    scalars.push_back({names_[i], sum / static_cast<double>(sums_of_patient.size())});
  }
  return scalars;
}

}  // namespace leda::training
