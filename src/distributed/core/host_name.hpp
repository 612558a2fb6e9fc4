// The name of the machine that this rank runs on, as messages, records and locks give it.
#pragma once

#include <string>

namespace leda::distributed {

// Cut to 255 characters; empty where the system gives none.
std::string host_name();

}  // namespace leda::distributed
