"""Jobs that are started wrongly are refused before they cost time, with the remedy; a dry run shows each check.

usage: python launch_checks_test.py
"""

import os
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from leda_job import TRAIN, JobTestCase, run  # noqa: E402


class LaunchChecks(JobTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write_phantoms()

    def dry_run(self, **options):
        return self.job("--dry-run", run__stages="baseline", **options)

    def test_a_dry_run_shows_each_check(self):
        ended = run(self.dry_run(), ranks=2)
        self.assert_ended(ended, 0)
        checks = dict(re.findall(r"^launch, ([a-z ]+?) +(in order|warning|refused) ", ended.output, re.MULTILINE))
        self.assertEqual(list(checks), ["ranks", "devices", "program", "run folder", "clocks", "threads",
                                        "shared memory"], ended)
        for name in ("ranks", "devices", "program", "run folder", "clocks"):
            self.assertEqual(checks[name], "in order", ended)

    def test_ranks_of_different_builds_are_refused(self):
        other = self.folder / "other_build"
        shutil.copy(TRAIN, other)
        with open(other, "ab") as file:
            file.write(b"\0")
        command = self.dry_run()
        ended = run(["mpirun", "-np", "1", *command, ":", "-np", "1", str(other), *command[1:]])
        self.assert_refused(ended, 13, "different builds", "rank 0 on", "rank 1 on")

    def test_a_program_alone_where_the_launcher_announces_more_is_refused(self):
        for variable in ("SLURM_NTASKS", "PMI_SIZE"):
            ended = run(self.dry_run(), variables={variable: "4"})
            self.assert_refused(ended, 13, f"{variable} announces 4 ranks", "mpirun")

    def test_more_threads_than_cores_are_a_warning(self):
        ended = run(self.dry_run(distributed__threads_per_rank=os.cpu_count()), ranks=2)
        self.assert_ended(ended, 0)
        self.assertIn("warning: ranks 0 and 1 on", ended.errors)
        self.assertIn("threads for", ended.errors)

    def test_a_run_folder_that_is_not_shared_is_refused(self):
        private = ["unshare", "--mount", "--propagation", "private"]
        if subprocess.run([*private, "true"], capture_output=True).returncode != 0:
            self.skipTest("this user may not have mounts of its own")
        runs = self.folder / "runs"
        runs.mkdir()
        command = self.job("--dry-run", run__stages="baseline", run_folder=runs / "run")
        # Rank 1 sees another file system under runs/.
        elsewhere = [*private, "sh", "-c", f'mount -t tmpfs none "{runs}" && exec "$@"', "sh", *command]
        ended = run(["mpirun", "-np", "1", *command, ":", "-np", "1", *elsewhere])
        self.assert_refused(ended, 13, "another run folder", "rank 1 on", "file system that all hosts share")


if __name__ == "__main__":
    unittest.main(verbosity=2)
