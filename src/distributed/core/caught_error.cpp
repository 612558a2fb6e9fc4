#include "distributed/core/caught_error.hpp"

#include <exception>
#include <filesystem>

namespace leda::distributed {

base::Error caught_error(const std::string& what) {
  try {
    throw;
  } catch (const base::Error& error) {
    return error;
  } catch (const std::filesystem::filesystem_error& error) {
    return {base::ExitCode::storage,
            {.what = error.what(), .value = "", .why = "", .remedy = "check the file system and the folder"}};
  } catch (const std::exception& error) {
    return {
        base::ExitCode::internal,
        {.what = what, .value = error.what(), .why = "", .remedy = "if memory is not the reason, please report this"}};
  }
}

}  // namespace leda::distributed
