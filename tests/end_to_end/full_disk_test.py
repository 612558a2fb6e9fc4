"""Checkpoints on a file system that is full, or read-only, for a while or to the end: real ones, of a few MiB in memory.

Where this user may not mount, the file-size limits of resume_test.py stand for these.

usage: python full_disk_test.py
"""

import contextlib
import signal
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from leda_job import JobTestCase, Running, checkpoints, endless, last_step, run  # noqa: E402

STEPS = 300
TRAINING = "without_leda"
REFUSED = "was not saved, the next interval tries again"


class FullDisk(JobTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write_phantoms()

    def setUp(self):
        super().setUp()
        self.disk = self.folder / "run" / TRAINING / "checkpoints"
        self.disk.mkdir(parents=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(self.disk)], capture_output=True,
                              check=False)
        self.is_mounted = done.returncode == 0
        if self.is_mounted:
            self.addCleanup(subprocess.run, ["umount", "--lazy", str(self.disk)], check=True)

    def command_line(self, **options):
        return self.job(run__stages="baseline", **{**endless("denoiser"), "checkpoint__every_num_steps": 4, **options})

    def fill(self):
        with contextlib.suppress(OSError), open(self.disk / "filler", "wb", buffering=0) as filler:
            while filler.write(b"x" * 4096):
                pass

    def remount(self, how):
        """Refused while a file is being written there."""
        return subprocess.run(["mount", "-o", f"remount,{how}", str(self.disk)], capture_output=True,
                              check=False).returncode == 0

    def is_training(self, running):
        """Steps go on, and saves fail."""
        step = last_step(self.disk.parent)
        refusals = running.errors.count(REFUSED)
        running.wait_until(lambda: last_step(self.disk.parent) > step + 4 and running.errors.count(REFUSED) > refusals)

    def go_on(self, disturb, relieve, ranks, words, **options):
        with Running(self.command_line(**options), ranks=ranks) as running:
            running.wait_until(lambda: len(checkpoints(self.disk.parent)) >= 2)
            disturb()
            running.wait_until(lambda: REFUSED in running.errors)
            kept = checkpoints(self.disk.parent)
            self.assertTrue(kept)
            self.is_training(running)
            self.assertEqual(checkpoints(self.disk.parent), kept, "old ones stay")
            relieve()
            running.wait_until(lambda: checkpoints(self.disk.parent)[-1] > kept[-1])
            running.process.send_signal(signal.SIGUSR1)
            ended = running.ended()
        self.assert_ended(ended, 85)
        self.assertIn(words, ended.errors)
        self.assertEqual(checkpoints(self.disk.parent)[-1].name, f"step_{last_step(self.disk.parent):08}")
        leftovers = [path.name for path in self.disk.iterdir() if path.name.startswith(".")]
        self.assertEqual(leftovers, [])

    def test_a_disk_that_is_full_for_a_while_costs_checkpoints_only(self):
        if self.is_mounted:
            self.go_on(self.fill, (self.disk / "filler").unlink, 2, "No space left on device")

    def test_where_ranks_write_parts_a_full_disk_is_every_ranks(self):
        if self.is_mounted:
            self.go_on(self.fill, (self.disk / "filler").unlink, 3, "No space left on device",
                                  checkpoint__max_file_bytes=2000)
            names = {path.name for path in checkpoints(self.disk.parent)[-1].iterdir()}
            self.assertTrue(any(name.startswith("networks-00002-of-") for name in names), names)

    def test_a_disk_that_is_read_only_for_a_while_costs_checkpoints_only(self):
        if not self.is_mounted:
            return

        def wait_for(how):
            while not self.remount(how):
                pass

        self.go_on(lambda: wait_for("ro"), lambda: wait_for("rw"), 2, "Read-only file system")

    def test_a_last_checkpoint_on_a_full_disk_ends_with_the_storage_code(self):
        if not self.is_mounted:
            return
        command = self.command_line(denoiser__num_steps=STEPS)
        with Running(command, ranks=2) as running:
            running.wait_until(lambda: len(checkpoints(self.disk.parent)) >= 2)
            self.fill()
            ended = running.ended()
        self.assert_refused(ended, 12, self.disk, "No space left on device")
        self.assertEqual(last_step(self.disk.parent), STEPS, "training went on to the end")
        kept = checkpoints(self.disk.parent)
        self.assertTrue(kept)
        # Neither does it start on a disk without room, nor lose anything by the attempt.
        self.assert_refused(run(command, ranks=2), 12, self.disk)
        self.assertEqual(checkpoints(self.disk.parent), kept)
        (self.disk / "filler").unlink()
        ended = run(command, ranks=2)
        self.assert_ended(ended, 0)
        self.assertIn("resumes after step", ended.output)


if __name__ == "__main__":
    unittest.main(verbosity=2)
