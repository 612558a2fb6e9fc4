#include "training/loop/loop_state.hpp"

#include <nlohmann/json.hpp>

namespace leda::training {
namespace {

using Json = nlohmann::json;

}  // namespace

std::string to_json(const SavedLoop& loop) {
  const LoopProgress& progress = loop.progress;
  Json facts = Json::object();
  for (const auto& [name, text] : loop.stage_facts) facts[name] = text;
  Json environment = Json::object();
  for (const auto& [name, value] : loop.environment) environment[name] = value;
  Json state = {{"step", progress.step},
                {"num_steps", loop.num_steps},
                {"epoch", progress.step / loop.steps_per_epoch},
                {"position_in_epoch", progress.step % loop.steps_per_epoch},
                {"global_batch", loop.global_batch},
                {"seed", loop.seed},
                {"learning_rate", loop.learning_rate},
                {"data_fingerprint", loop.data_fingerprint},
                {"best", {{"step", progress.best_step}, {"criterion", progress.best_criterion}}},
                {"machine", environment},
                {"stage", facts}};
  if (progress.is_validation_pending) state["validation_pending"] = true;
  return state.dump(2) + "\n";
}

SavedLoop saved_loop_of(const std::string& json) {
  const Json state = Json::parse(json);
  SavedLoop loop;
  loop.progress.step = state.at("step");
  loop.progress.best_step = state.at("best").at("step");
  loop.progress.best_criterion = state.at("best").at("criterion");
  loop.progress.is_validation_pending = state.value("validation_pending", false);
  state.at("data_fingerprint").get_to(loop.data_fingerprint);
  for (const auto& [name, text] : state.at("stage").items()) {
    loop.stage_facts.emplace_back(name, text.get<std::string>());
  }
  for (const auto& [name, value] : state.at("machine").items()) {
    loop.environment.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
  }
  return loop;
}

}  // namespace leda::training
