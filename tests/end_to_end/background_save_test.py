"""A disk that takes its time: training goes on meanwhile, saves that become due are put off, the bytes stay the same.

usage: python background_save_test.py
"""

import json
import os
import re
import signal
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from leda_job import INJECTOR, JobTestCase, Running, checkpoints, endless, last_step, log_lines, run  # noqa: E402

STEPS = 500  # more than a second, on a fast machine too
TRAINING = "without_leda"


class SlowDisk(JobTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write_phantoms()

    def command_line(self, name, **options):
        options = {**endless("denoiser"), "denoiser__num_steps": STEPS, **options}
        return self.job(run_folder=self.folder / name, run__stages="baseline", **options)

    # An fsync of rank 0 in the second save (of six each) comes a second late. Which step that save is of, the machine's
    # other work decides.
    @staticmethod
    def slow(path=".step_", number=9, kind="delay"):
        return {"LD_PRELOAD": str(INJECTOR),
                "LEDA_FAULT": f"rank=0 call=fsync number={number} path=/checkpoints/{path} kind={kind}"}

    def final_bytes(self, name):
        newest = checkpoints(self.folder / name / TRAINING)[-1]
        self.assertEqual(newest.name, f"step_{STEPS:08}")
        names = ["manifest.json", *(file["name"] for file in json.loads((newest / "manifest.json").read_text())["files"])]
        return {file: (newest / file).read_bytes() for file in names}

    def test_training_goes_on_and_what_becomes_due_is_put_off(self):
        # Neither validation, whose best would be waited for, nor anything else comes between.
        options = {"training__validate_every_num_steps": STEPS}
        self.assert_ended(run(self.command_line("quick", **options), ranks=2), 0)
        ended = run(self.command_line("slow", **options), ranks=2, variables=self.slow())
        self.assert_ended(ended, 0)
        self.assertIn("fault injector: delay at call 9 of fsync", ended.errors)
        self.assertEqual(self.final_bytes("slow"), self.final_bytes("quick"))
        # Once for each save that others had to wait for; on a busy machine there are more than the slow one.
        self.assertRegex(ended.output, r"the checkpoint due at step \d+ is put off")
        lines = log_lines(self.folder / "slow" / TRAINING)
        saves = [i for i, line in enumerate(lines) if line.get("event") == "checkpoint"]
        # The last is waited for, and may be the slowest where other work fills the disk.
        place = max(saves[:-1], key=lambda i: lines[i]["checkpoint_write_seconds"])
        self.assertGreaterEqual(lines[place]["checkpoint_write_seconds"], 1.0)
        steps = [line["step"] for line in lines[:place] if "event" not in line]
        self.assertGreater(steps[-1], lines[place]["step"], "steps made while this one was written")
        following = lines[saves[saves.index(place) + 1]]["step"]
        self.assertGreaterEqual(following, steps[-1])

    def test_a_stop_waits_for_the_save_under_way(self):
        with Running(self.command_line("stopped"), ranks=2, variables=self.slow()) as running:
            running.wait_until(lambda: "fault injector" in running.errors)
            running.process.send_signal(signal.SIGUSR1)
            ended = running.ended()
        self.assert_ended(ended, 85)
        names = [path.name for path in checkpoints(self.folder / "stopped" / TRAINING)]
        self.assertEqual(names[-1], f"step_{last_step(self.folder / 'stopped' / TRAINING):08}")
        self.assertEqual([name for name in os.listdir(self.folder / "stopped" / TRAINING / "checkpoints")
                          if name.startswith(".")], [])

    def test_a_disk_that_hangs_at_the_end_is_named_and_ends_the_job(self):
        last = 24
        ended = run(self.command_line("hung", distributed__timeout_seconds=4, denoiser__num_steps=last), ranks=2,
                    variables=self.slow(f".step_{last:08}_", 1, "silent"))
        self.assert_ended(ended, 13)
        # On a busy machine both ranks come to the verdict.
        for verdict in re.findall(r"error, found by rank \d: (.*)", ended.errors) or [""]:
            self.assertIn("rank 0 stands still", verdict)
            self.assertIn(f"checkpoint of step {last}: waits for its writer", verdict)


if __name__ == "__main__":
    unittest.main(verbosity=2)
