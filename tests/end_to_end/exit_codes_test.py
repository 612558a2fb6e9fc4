"""What mpirun makes of the exit codes: the second table of docs/exit_codes.md, row by row.

usage: python exit_codes_test.py
"""

import contextlib
import os
import signal
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from leda_job import DATA, JobTestCase, Running, checkpoints, last_step, run  # noqa: E402


class WhatMpirunMakesOfIt(JobTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write_phantoms()

    def started(self):
        folder = self.folder / "run" / "without_leda"
        step_before = last_step(folder)
        running = Running(self.endless_baseline(), ranks=2)
        try:
            running.wait_until(lambda: last_step(folder) >= step_before + 5 and checkpoints(folder))
        except BaseException:
            running.__exit__()
            raise
        return running

    def test_the_code_of_all_ranks(self):
        for code, command in ((0, [DATA, "info", "--data.folder", self.data / "test"]),
                              (10, [DATA, "info"]),
                              (85, [*self.endless_baseline(), "--run.max_seconds=0.001"])):
            self.assert_ended(run(command, ranks=2), code)

    def test_the_code_of_the_one_rank_that_failed(self):
        for code, folder in ((0, self.data), (11, self.folder)):
            ended = run(["mpirun", "-np", "1", DATA, "info", "--data.folder", self.data / "test",
                         ":", "-np", "1", DATA, "info", "--data.folder", folder / "test"])
            self.assert_ended(ended, code)

    def test_usr1_and_usr2_to_mpirun(self):
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            with self.started() as running:
                running.process.send_signal(number)
                self.assert_ended(running.ended(), 85)

    def test_interrupt_and_terminate_to_mpirun(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.started() as running:
                running.process.send_signal(number)
                self.assert_ended(running.ended(), 1)
        # Whatever became of the last save: the run goes on from a complete checkpoint.
        ended = run([*self.endless_baseline(), "--run.max_seconds=0.001"], ranks=2)
        self.assert_ended(ended, 85)
        self.assertIn("resumes after step", ended.output)

    def test_a_rank_that_is_killed_or_aborts(self):
        for number, code in ((signal.SIGKILL, 137), (signal.SIGABRT, 134)):
            with self.started() as running:
                os.kill(running.ranks()[1], number)
                self.assert_ended(running.ended(), code)

    def test_mpirun_itself_is_killed(self):
        with self.started() as running:
            ranks = running.ranks()
            self.assertEqual(len(ranks), 2)
            running.process.kill()
            self.assert_ended(running.ended(), 137)
            deadline = time.monotonic() + 30
            while any(map(is_running, ranks)) and time.monotonic() < deadline:
                time.sleep(0.05)
            left = [rank for rank in ranks if is_running(rank)]
            for rank in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rank, signal.SIGKILL)
            self.assertEqual(left, [])


def is_running(process_id):
    try:
        with open(f"/proc/{process_id}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":
    unittest.main(verbosity=2)
