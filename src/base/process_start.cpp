#include "base/process_start.hpp"

#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include "base/clock.hpp"

namespace leda::base {
namespace {

// Of /proc/self/stat (proc(5)): field 22, in clock ticks since boot. Counted from behind the program's name, which may
// hold spaces and brackets. Negative where it cannot be read.
double start_since_boot_seconds() {
  constexpr int kFieldsAfterName = 19;  // of fields 3 to 21
  std::ifstream file("/proc/self/stat");
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return -1.0;
  std::istringstream fields(text.substr(name_end + 1));
  std::string skipped;
  for (int i = 0; i < kFieldsAfterName; ++i) fields >> skipped;
  double ticks = -1.0;
  fields >> ticks;
  return fields ? ticks / static_cast<double>(sysconf(_SC_CLK_TCK)) : -1.0;
}

}  // namespace

double process_start_unix_seconds() {
  const double start = start_since_boot_seconds();
  std::timespec boot{};
  if (start < 0.0 || clock_gettime(CLOCK_BOOTTIME, &boot) != 0) return unix_seconds();
  const double since_boot = static_cast<double>(boot.tv_sec) + 1e-9 * static_cast<double>(boot.tv_nsec);
  return unix_seconds() - std::max(0.0, since_boot - start);
}

}  // namespace leda::base
