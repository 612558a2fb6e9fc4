// How often to save (docs/methods/checkpoint_interval.md): rarely enough for saves to cost little, often enough for a
// failure to cost little. Pure functions; seconds.
#pragma once

#include <cstdint>
#include <vector>

#include "logging/goodput_history.hpp"

namespace leda::training {

// Both: of computing between two saves, where a save costs `cost_seconds` of training and failures come on average
// every `seconds_between_failures`, both above 0.
// sqrt(2 C M): Young, "A first order approximation to the optimum checkpoint interval", CACM 17(9), 1974.
double young_interval_seconds(double cost_seconds, double seconds_between_failures);
// The higher-order estimate, eq. 37 of Daly, "A higher order estimate of the optimum checkpoint interval for restart
// dumps", FGCS 22(3), 2006. M where a save costs 2 M or more.
double daly_interval_seconds(double cost_seconds, double seconds_between_failures);

// Of a run with these attempts behind it and `elapsed_seconds` of another, which has not failed. Before anything was
// seen: one failure a day, as much evidence as one day with one failure is.
double seconds_between_failures(const std::vector<logging::AttemptAccount>& history, double elapsed_seconds);

// What is known of this run's saves.
struct SaveFigures {
  double pause_seconds = 0.0;       // training stands still, per save
  double slow_down_seconds = 0.0;   // steps beside the writer take longer, per save
  double background_seconds = 0.0;  // until it is complete
};

// Daly's interval for pause and slow-down; at least the time that the writer needs for one.
double best_interval_seconds(const SaveFigures& figures, double seconds_between_failures);

}  // namespace leda::training
