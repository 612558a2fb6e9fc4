#include "training/patient_means.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

namespace leda::training {

PatientMeans::PatientMeans(const data::ShardCatalogue& catalogue, std::vector<std::string> names)
    : catalogue_(catalogue), names_(std::move(names)) {
  for (const std::string& patient : catalogue.patients()) {
    row_of_patient_.emplace(patient, static_cast<std::int64_t>(row_of_patient_.size()));
  }
  sums_ = at::zeros({static_cast<std::int64_t>(row_of_patient_.size()), static_cast<std::int64_t>(names_.size()) + 1},
                    at::kDouble);
}

void PatientMeans::add(std::int64_t slice_id, const std::vector<double>& figures) {
  auto row = sums_.accessor<double, 2>()[row_of_patient_.at(catalogue_.record(slice_id).patient)];
  for (std::size_t i = 0; i < figures.size(); ++i) row[static_cast<std::int64_t>(i)] += figures[i];
  row[static_cast<std::int64_t>(figures.size())] += 1.0;
}

std::vector<logging::Scalar> PatientMeans::reduce(distributed::Communicator& communicator) {
  distributed::all_reduce(communicator, sums_);
  const std::int64_t num_names = static_cast<std::int64_t>(names_.size());
  const at::Tensor per_patient = sums_.narrow(1, 0, num_names) / sums_.narrow(1, num_names, 1);
  const at::Tensor means = per_patient.mean(0);
  std::vector<logging::Scalar> scalars;
  for (std::int64_t i = 0; i < num_names; ++i) {
    scalars.push_back({names_[static_cast<std::size_t>(i)], means.accessor<double, 1>()[i]});
  }
  return scalars;
}

void for_each_slice_of_rank(const data::ShardCatalogue& catalogue, const distributed::Communicator& communicator,
                            const std::function<void(std::int64_t slice_id)>& visit) {
  for (std::int64_t id = communicator.rank(); id < catalogue.num_slices(); id += communicator.size()) visit(id);
}

}  // namespace leda::training
