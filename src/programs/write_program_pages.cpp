// write_program_pages FOLDER: man pages into FOLDER/man/man1, completion into FOLDER/bash-completion/leda.bash. Run by
// the build; it starts no MPI.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "config/bash_completion.hpp"
#include "config/man_page.hpp"
#include "config/program_pages.hpp"

namespace {

namespace fs = std::filesystem;

void write(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream stream(file, std::ios::binary);
  stream.exceptions(std::ios::failbit | std::ios::badbit);
  stream << text;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: write_program_pages FOLDER\n", stderr);
    return 1;
  }
  const fs::path folder = argv[1];
  try {
    const std::vector<leda::config::ProgramPages> programs = leda::config::all_program_pages();
    for (const leda::config::ProgramPages& pages : programs) {
      write(folder / "man" / "man1" / leda::config::man_page_file_name(pages.program), leda::config::man_page(pages));
    }
    write(folder / "bash-completion" / "leda.bash", leda::config::bash_completion(programs));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "write_program_pages: %s\n", error.what());
    return 1;
  }
  return 0;
}
