#include "training/run/scheduler_job.hpp"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace leda::training {
namespace {

SchedulerJob job_of(const std::map<std::string, std::string>& variables) {
  return read_scheduler_job([&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(SchedulerJob, OutsideABatchSystemThereIsNone) {
  const SchedulerJob none = job_of({{"SLURM_JOB_END_TIME", "2000"}});
  EXPECT_EQ(none.id, "");
  EXPECT_FALSE(none.end.has_value());
}

TEST(SchedulerJob, ItsTimesAreReadWhereTheyAreNumbers) {
  const SchedulerJob job = job_of({{"SLURM_JOB_ID", "41"},
                                   {"SLURM_JOB_START_TIME", "1700000000"},
                                   {"SLURM_JOB_END_TIME", "1700003600"},
                                   {"LEDA_JOB_SUBMIT_TIME", "2026-01-01T00:00:00"}});
  EXPECT_EQ(job.id, "41");
  EXPECT_EQ(job.start, 1700000000.0);
  EXPECT_EQ(job.end, 1700003600.0);
  EXPECT_FALSE(job.submitted.has_value());
  EXPECT_FALSE(job_of({{"SLURM_JOB_ID", "41"}, {"SLURM_JOB_END_TIME", ""}}).end.has_value());
  EXPECT_FALSE(job_of({{"SLURM_JOB_ID", "41"}, {"SLURM_JOB_END_TIME", "0"}}).end.has_value());
}

}  // namespace
}  // namespace leda::training
