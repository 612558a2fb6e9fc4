// A number with its name, as it goes to the logs: "denoise/leda_loss", 0.0213.
#pragma once

#include <string>

namespace leda::logging {

struct Scalar {
  std::string name;
  double value = 0.0;
};

}  // namespace leda::logging
