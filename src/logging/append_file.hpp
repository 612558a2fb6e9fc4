// A file that only grows. Each append is handed to the system whole: it lands completely, or is taken back and
// reported. Move-only, one thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace leda::logging {

class AppendFile {
 public:
  enum class Opening { existing_or_new, new_only };

  // Error(storage) on failure; with new_only also where the file exists already.
  AppendFile(std::filesystem::path path, Opening opening);
  ~AppendFile();
  AppendFile(AppendFile&& other) noexcept;
  AppendFile& operator=(AppendFile&&) = delete;

  void append(std::string_view bytes);  // Error(storage)

  std::int64_t size() const;
  std::string read(std::int64_t offset, std::int64_t num_bytes) const;
  void cut(std::int64_t size);

  const std::filesystem::path& path() const { return path_; }

 private:
  [[noreturn]] void fail(const char* action) const;

  std::filesystem::path path_;
  int file_ = -1;
};

}  // namespace leda::logging
