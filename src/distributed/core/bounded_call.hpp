// Calls into libraries that may never return.
#pragma once

#include <functional>

namespace leda::distributed {

// Runs `call` on a thread of its own. True, or its exception, if it returned within the time; otherwise false, and the
// thread stays behind: what it refers to must live on, and the process should end soon.
bool completes_within(double seconds, std::function<void()> call);

// Ends this process in so many seconds with this exit code, whatever its other threads do until then.
void exit_after(double seconds, int exit_code);

}  // namespace leda::distributed
