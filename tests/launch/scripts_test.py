"""The scripts of launch/ as a user meets them: messages and exit codes, without installing or building anything.

usage: python scripts_test.py
"""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


class LaunchScripts(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.folder.chmod(0o755)
        # A copy, in which nothing is installed yet.
        shutil.copytree(REPOSITORY / "launch", self.folder / "clone" / "launch")
        self.programs = self.folder / "programs"
        self.programs.mkdir()

    def fake_program(self, name, body):
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def run_script(self, *command, as_user=False, **variables):
        """The exit code and all output. The made-up programs come first on the PATH."""
        environment = {"PATH": f"{self.programs}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.folder), **variables}
        prefix = []
        if as_user and os.geteuid() == 0:
            prefix = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        done = subprocess.run(
            [*prefix, *command], cwd=self.folder / "clone", env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
        )
        return done.returncode, done.stdout

    def test_unknown_options_are_named(self):
        for script in ("setup", "build", "quickstart", "verify_clean_install", "benchmark", "campaign", "lint", "run",
                       "study"):
            code, output = self.run_script(f"launch/{script}", "--no-such-option")
            self.assertEqual(code, 2, output)
            self.assertIn("--no-such-option", output)

    def test_help_is_the_comment_at_the_top(self):
        for script in ("setup", "build", "test", "quickstart", "head_ct", "verify_clean_install", "benchmark", "forecast",
                       "campaign", "lint", "run", "study"):
            code, output = self.run_script(f"launch/{script}", "--help")
            self.assertEqual(code, 0, output)
            self.assertTrue(output.startswith(f"usage: launch/{script}"), output)
            self.assertNotIn("set -euo", output)

    def test_user_without_sudo_gets_the_line_to_ask_for(self):
        self.fake_program("dpkg-query", "echo 'cmake 3.25.1-1 installed'; echo 'ninja-build 1.8 installed'")
        self.fake_program("sudo", "exit 1")
        code, output = self.run_script("launch/setup", as_user=True)
        self.assertEqual(code, 3, output)
        lines = [line.strip() for line in output.splitlines() if "apt-get install" in line]
        self.assertEqual(len(lines), 1, output)
        self.assertTrue(lines[0].startswith("apt-get update && apt-get install --yes --no-install-recommends "))
        words = lines[0].split()
        self.assertIn("libopenmpi-dev", words)
        self.assertIn("ninja-build", words, "an older version than the least one must be asked for")
        self.assertNotIn("cmake", words, "what is there must not be asked for")

    def test_too_little_disk_is_said_before_anything_is_fetched(self):
        self.fake_program("df", "echo header; echo '/dev/disk 100 90 10 90% /'")
        code, output = self.run_script("launch/setup", "--no-apt")
        self.assertEqual(code, 4, output)
        self.assertIn("10 MB are free", output)
        self.assertFalse((self.folder / "clone" / ".deps").exists())

    def test_named_libtorch_is_checked_and_nothing_is_fetched(self):
        code, output = self.run_script("launch/setup", "--no-apt", LEDA_TORCH_ROOT="/nonexistent")
        self.assertEqual(code, 5, output)
        self.assertIn("/nonexistent", output)

        torch = self.folder / "torch"
        for file in ("include/ATen/core/Tensor.h", "lib/libtorch_cpu.so"):
            (torch / file).parent.mkdir(parents=True)
            (torch / file).touch()
        code, output = self.run_script("launch/setup", "--no-apt", LEDA_TORCH_ROOT=str(torch))
        self.assertEqual(code, 0, output)
        self.assertIn(str(torch), output)
        self.assertFalse((self.folder / "clone" / ".deps").exists())

    def test_other_processor_is_refused(self):
        self.fake_program("uname", 'case $1 in -s) echo Linux ;; -m) echo aarch64 ;; esac')
        code, output = self.run_script("launch/setup")
        self.assertEqual(code, 5, output)
        self.assertIn("aarch64", output)

    def test_environment_finds_its_programs_from_any_folder_and_keeps_what_is_set(self):
        script = "set -eu; source ../clone/launch/environment; source ../clone/launch/environment; env"
        (self.folder / "elsewhere").mkdir()
        shells = [shell for shell in ("bash", "zsh") if shutil.which(shell)]
        for shell in shells:
            code, output = self.run_script(
                "env", "-C", str(self.folder / "elsewhere"), shell, "-c", script, OMPI_ALLOW_RUN_AS_ROOT="0"
            )
            self.assertEqual(code, 0, output)
            variables = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
            programs = str((self.folder / "clone").resolve() / "build" / "bin")
            self.assertEqual(variables["PATH"].split(":").count(programs), 1, shell)
            self.assertEqual(variables["OMPI_ALLOW_RUN_AS_ROOT"], "0")
            self.assertEqual(variables["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"], "1")
            self.assertEqual(variables["OMPI_MCA_rmaps_base_oversubscribe"], "1")
            self.assertNotIn("leda_programs_folder", variables)


if __name__ == "__main__":
    unittest.main()
