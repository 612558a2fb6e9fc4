// When this process was started, for accounts that must not begin only where main does: loading LibTorch takes seconds.
#pragma once

namespace leda::base {

// Unix seconds, to a hundredth. Now, where the system does not tell.
double process_start_unix_seconds();

}  // namespace leda::base
