"""launch/lint on a small tree of its own: each check finds the fault that is planted for it, and nothing where there is none.

usage: python lint_test.py    (with the Python that has ruff and libclang)
"""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

CLEAN_TREE = {
    "CMakeLists.txt": "cmake_minimum_required(VERSION 3.25)\n"
                      "project(small LANGUAGES CXX)\n"
                      "set(CMAKE_CXX_STANDARD 20)\n"
                      "set(CMAKE_EXPORT_COMPILE_COMMANDS ON)\n"
                      "add_library(small STATIC src/room/door.cpp)\n"
                      "target_include_directories(small PRIVATE src)\n",
    "README.md": "# Small tree\n\n## Its door\n\nThe [door](src/room/door.hpp), [described below](#its-door).\n",
    "data_tools/measure.py": "import sys\n\nprint(sys.argv)\n",
    "slurm/open.sh": "#!/usr/bin/env bash\necho \"$1\"\n",
    "src/room/door.cpp": "#include \"room/door.hpp\"\n\nnamespace room {\n\n"
                         "std::string Door::label() const { return name_; }\n\n}  // namespace room\n",
    "src/room/door.hpp": "#pragma once\n\n#include <string>\n#include <utility>\n\nnamespace room {\n\n"
                         "class Door {\n public:\n  explicit Door(std::string name) : name_(std::move(name)) {}\n"
                         "  std::string label() const;\n\n private:\n  std::string name_;\n};\n\n}  // namespace room\n",
    "tests/room/open_door.hpp": "#pragma once\n\n#include \"room/door.hpp\"\n\n"
                                "inline std::string open_door() { return room::Door(\"open\").label(); }\n",
}


def class_of(num_members):
    members = "".join(f"  int member_{i}_ = 0;\n" for i in range(num_members))
    return f"class Wide {{\n public:\n  Wide();\n\n private:\n{members}}};\n"


def constructor_of(num_arguments):
    arguments = ", ".join(f"int a{i}" for i in range(num_arguments))
    return f"class Fed {{\n public:\n  Fed({arguments});\n}};\n"


def function_of(num_lines):
    return "int long_sum(int sum) {\n" + "  sum += 2;\n" * (num_lines - 3) + "  return sum;\n}\n"


class Lint(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = Path(folder.name)
        shutil.copytree(REPOSITORY / "launch", self.tree / "launch", ignore=shutil.ignore_patterns("__pycache__"))
        for name in (".clang-format", ".clang-tidy", "ruff.toml"):
            shutil.copy(REPOSITORY / name, self.tree / name)
        (self.tree / ".ci").mkdir()
        (self.tree / ".deps").mkdir()
        (self.tree / ".deps" / "python").symlink_to(sys.prefix)
        for name, text in CLEAN_TREE.items():
            self.write(name, text)

    def write(self, name, text):
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run_tool(self, *command, **variables):
        return subprocess.run(command, cwd=self.tree, env={**os.environ, **variables}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100)

    def lint(self, *options):
        """The exit code and all output."""
        done = self.run_tool("launch/lint", *options)
        return done.returncode, done.stdout

    def assert_passes(self, check):
        code, output = self.lint("--only", check)
        self.assertEqual(code, 0, output)
        self.assertIn(f"==> {check}: passed", output)

    def assert_finds(self, check, *texts):
        code, output = self.lint("--only", check)
        self.assertEqual(code, 1, output)
        self.assertIn(f"==> {check}: FAILED", output)
        for text in texts:
            self.assertIn(text, output)

    def test_all_checks_pass_where_nothing_is_wrong(self):
        code, output = self.lint()
        self.assertEqual(code, 0, output)
        self.assertEqual(output.count(": passed ("), 6, output)

    def test_every_check_runs_after_one_that_found_something(self):
        self.write("data_tools/measure.py", "import os\nimport sys\n\nprint(sys.argv)\n")
        self.write("README.md", "[gone](gone.md)\n")
        code, output = self.lint("--only", "ruff", "--only", "links", "--only", "shellcheck")
        self.assertEqual(code, 1, output)
        self.assertIn("2 of 3 checks found something: ruff links", output)
        self.assertIn("==> shellcheck: passed", output)

    def test_wrong_options_are_named(self):
        for options, text in ((["--no-such"], "--no-such"), (["--only", "spelling"], "'spelling'"),
                              (["--only"], "needs a value"), (["--tidy", "no-such-commit"], "'no-such-commit'")):
            code, output = self.lint(*options)
            self.assertEqual(code, 2, output)
            self.assertIn(text, output)

    def test_a_missing_tool_is_named(self):
        (self.tree / ".deps" / "python").unlink()
        code, output = self.lint("--only", "ruff")
        self.assertEqual(code, 5, output)
        self.assertIn("launch/setup --python-tools", output)

    def test_layout_is_found_and_mended(self):
        self.write("src/room/door.cpp", CLEAN_TREE["src/room/door.cpp"].replace("{ return name_; }", "{return name_;}"))
        self.assert_finds("clang-format", "src/room/door.cpp")
        code, output = self.lint("--only", "clang-format", "--fix")
        self.assertEqual(code, 0, output)
        self.assertEqual((self.tree / "src/room/door.cpp").read_text(), CLEAN_TREE["src/room/door.cpp"])

    def test_unquoted_variable_is_found(self):
        self.write("slurm/open.sh", "#!/usr/bin/env bash\necho $1\n")
        self.assert_finds("shellcheck", "slurm/open.sh", "SC2086")

    def test_unused_import_is_found_and_mended(self):
        self.write("data_tools/measure.py", "import os\nimport sys\n\nprint(sys.argv)\n")
        self.assert_finds("ruff", "data_tools/measure.py", "F401")
        code, output = self.lint("--only", "ruff", "--fix")
        self.assertEqual(code, 0, output)
        self.assertEqual((self.tree / "data_tools/measure.py").read_text(), CLEAN_TREE["data_tools/measure.py"])

    def test_dead_links_are_found(self):
        self.write("docs/page.md", "# A page\n\n[a](../README.md#its-door) [b](gone.md) [c](#no-heading)\n[d](../README.md#gone)\n"
                                   "[e](https://example.org/gone) [f](../build/log) `[g](gone.md)`\n\n```\n[h](gone.md)\n```\n\n"
                                   "[i]: gone/\n")
        code, output = self.lint("--only", "links")
        self.assertEqual(code, 1, output)
        self.assertEqual([line.split("'")[1] for line in output.splitlines() if "dead link" in line],
                         ["gone.md", "#no-heading", "../README.md#gone", "../build/log", "gone/"], output)

    def test_headers_that_lack_an_include_are_found(self):
        self.assert_passes("headers")
        # Alone door.hpp fails; open_door.hpp includes it and brings no string of its own.
        self.write("src/room/door.hpp", CLEAN_TREE["src/room/door.hpp"].replace("#include <string>\n", ""))
        self.write("src/room/key.hpp", "#pragma once\n\nnamespace room {\n\nint fits(const Door& door);\n\n}  // namespace room\n")
        self.assert_finds("headers", "src/room/door.hpp does not compile alone", "src/room/key.hpp does not compile alone",
                          "unknown type name 'Door'")

    def test_a_header_is_not_helped_by_one_that_includes_it(self):
        # What frame.hpp includes first would hide it.
        self.write("src/room/hinge.hpp", "#pragma once\n\ninline std::string hinge() { return {}; }\n")
        self.write("src/room/frame.hpp", "#pragma once\n\n#include <string>\n\n#include \"room/hinge.hpp\"\n")
        code, output = self.lint("--only", "headers")
        self.assertEqual(code, 1, output)
        self.assertIn("src/room/hinge.hpp does not compile alone", output)
        self.assertNotIn("src/room/frame.hpp does not", output)

    def test_shapes_above_the_limits_are_found(self):
        self.write("src/room/limits.hpp", "#pragma once\n\n" + class_of(12) + constructor_of(5) + "inline " + function_of(60))
        self.assert_passes("shape")
        self.write("src/room/limits.hpp", "#pragma once\n\n" + class_of(13) + constructor_of(6) + "inline " + function_of(61))
        self.assert_finds("shape", "class Wide has 13 members", "the constructor of Fed has 6 arguments",
                          "function long_sum has 61 lines", "3 findings")

    def test_a_stated_reason_excuses_and_has_to_go_with_what_it_excused(self):
        reason = "// lint: one for each of the thirteen\n"
        self.write("src/room/limits.hpp", "#pragma once\n\n" + reason + class_of(13))
        self.assert_passes("shape")
        self.write("src/room/limits.hpp", "#pragma once\n\n" + reason + class_of(12))
        self.assert_finds("shape", "src/room/limits.hpp:3: a reason for the lint step")
        self.write("src/room/limits.hpp", "#pragma once\n\n// lint:\n" + class_of(13))
        self.assert_finds("shape", "class Wide has 13 members")

    def test_records_are_not_counted_and_names_may_be_used_in_two_files(self):
        fields = "".join(f"  int field_{i} = 0;\n" for i in range(20))
        self.write("src/room/record.hpp", f"#pragma once\n\nstruct Record {{\n{fields}}};\n")
        for name, text in (("first", "struct Part {\n  int a = 0;\n};\n"), ("second", class_of(13).replace("Wide", "Part"))):
            self.write(f"src/room/{name}.cpp", f"namespace room {{\nnamespace {{\n{text}}}  // namespace\n}}  // namespace room\n")
        self.assert_finds("shape", "src/room/second.cpp:3: class Part has 13 members", " 1 findings")

    def test_clang_tidy_looks_at_what_changed_since_a_commit(self):
        git = ("git", "-c", "user.name=tester", "-c", "user.email=tester@example.org", "-c", "init.defaultBranch=main")
        self.write(".gitignore", "/.deps/\n/build/\n")
        for command in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message", "clean")):
            self.assertEqual(self.run_tool(*git, *command).returncode, 0)
        code, output = self.lint("--only", "links", "--tidy", "HEAD")
        self.assertEqual(code, 0, output)
        self.assertIn("0 files of src/ changed since HEAD", output)
        self.write("src/room/door.cpp", CLEAN_TREE["src/room/door.cpp"].replace("}  //", "int BadName() { return 0; }\n\n}  //"))
        code, output = self.lint("--only", "links", "--tidy", "HEAD")
        self.assertEqual(code, 1, output)
        self.assertIn("BadName", output)
        self.assertIn("==> clang-tidy: FAILED", output)

    def test_continuous_integration_lints_before_it_builds(self):
        for name, body in (("setup", "true"), ("lint", "echo linted; exit 1"), ("build", "echo built; exit 1")):
            self.write(f"launch/{name}", f"#!/bin/sh\n{body}\n")
        done = self.run_tool("launch/test", CI="true")
        self.assertEqual((done.returncode, done.stdout), (1, "linted\n"))
        done = self.run_tool("launch/test", CI="")
        self.assertEqual((done.returncode, done.stdout), (1, "built\n"))


if __name__ == "__main__":
    unittest.main()
