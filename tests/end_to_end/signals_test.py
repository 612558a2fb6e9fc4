"""Signals at every time of a job, and limits of time: what is saved, how all ranks leave, and that the run goes on.

usage: python signals_test.py
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from leda_job import (DATA, PHANTOM_OPTIONS, TRAIN, JobTestCase, Running, as_arguments, checkpoints,  # noqa: E402
                      descendants, environment, last_step, log_lines, run)


def is_trainer(process_id):
    try:
        return os.readlink(f"/proc/{process_id}/exe").endswith("leda_dist_train")
    except OSError:
        return False


def is_pending(process_id, number):
    """Sent, blocked, and kept by the system."""
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(re.search(r"ShdPnd:\s*([0-9a-f]+)", status)[1], 16) >> (number - 1) & 1 == 1


class Signals(JobTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write_phantoms()

    def setUp(self):
        super().setUp()
        self.run_folder = self.folder / "run"
        self.training = self.run_folder / "without_leda"

    def saved_at_the_end(self):
        """The checkpoint events of the log, the last one that of the last step."""
        step = last_step(self.training)
        self.assertEqual(checkpoints(self.training)[-1].name, f"step_{step:08}")
        events = [line for line in log_lines(self.training) if line.get("event") == "checkpoint"]
        self.assertEqual(events[-1]["step"], step)
        return events

    def goes_on(self, **options):
        ended = run(self.endless_baseline(**{**options, "denoiser__num_steps": last_step(self.training) + 2}), ranks=2)
        self.assert_ended(ended, 0)
        self.assertIn("resumes after step", ended.output)

    def test_one_signal_to_one_rank_stops_all_after_the_same_step(self):
        for number, code in ((signal.SIGUSR1, 85), (signal.SIGUSR2, 85), (signal.SIGTERM, 86)):
            with Running(self.endless_baseline(), ranks=3) as running:
                reached = last_step(self.training)
                running.wait_until(lambda: last_step(self.training) > reached + 2)
                os.kill(running.ranks()[2], number)
                ended = running.ended()
            self.assert_ended(ended, code)
            self.assertNotIn("a second signal", ended.output)
            self.assertGreater(self.saved_at_the_end()[-1]["checkpoint_verify_seconds"], 0.0)
        self.goes_on()

    def test_a_second_signal_to_one_rank_skips_read_back_and_retention(self):
        command = self.endless_baseline(checkpoint__keep_last=1)
        with Running(command, ranks=2) as running:
            running.wait_until(lambda: len(checkpoints(self.training)) == 1 and last_step(self.training) > 6)
            for number in (signal.SIGUSR1, signal.SIGUSR2):  # of one kind, the second might find the first still there
                os.kill(running.ranks()[1], number)
            ended = running.ended()
        self.assert_ended(ended, 85)
        self.assertIn("a second signal", ended.output)
        events = self.saved_at_the_end()
        self.assertEqual(events[-1]["checkpoint_verify_seconds"], 0.0)
        self.assertEqual(events[-1]["checkpoint_retention_seconds"], 0.0)
        self.assertGreater(events[0]["checkpoint_verify_seconds"], 0.0)
        self.goes_on(checkpoint__keep_last=1)

    def test_a_reader_of_its_output_that_leaves_does_not_end_it(self):
        process = subprocess.Popen(self.endless_baseline(denoiser__num_steps=100), stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment())
        process.stdout.readline()
        process.stdout.close()
        self.assertEqual(process.wait(timeout=60), 0)
        self.assertEqual(last_step(self.training), 100)

    def test_a_signal_before_main_is_kept_by_the_system_and_followed(self):
        for ranks in (None, 2):
            with Running(["env", "--block-signal=USR1,TERM", *self.endless_baseline()], ranks=ranks) as running:
                started = []

                def is_loading():
                    ids = [running.process.pid, *descendants(running.process.pid)]
                    started[:] = [process_id for process_id in ids if is_trainer(process_id)]
                    return bool(started)
                running.wait_until(is_loading)
                os.kill(started[0], signal.SIGUSR1)
                was_kept = is_pending(started[0], signal.SIGUSR1)
                ended = running.ended()
            self.assertTrue(was_kept, "sent too late to show anything")
            self.assert_ended(ended, 85)
            self.assertEqual(last_step(self.training), 0, "asked for before the first step")
        ended = run(self.endless_baseline(denoiser__num_steps=4), ranks=2)
        self.assert_ended(ended, 0)

    def test_a_signal_while_data_is_prepared_leaves_the_rest_for_the_next_start(self):
        folder = self.folder / "data"
        options = {**PHANTOM_OPTIONS, "data.folder": folder, "data.num_train_patients": 40, "data.phantom_size": 256,
                   "data.slices_per_patient": 8, "run.folder": self.run_folder, "run.stages": "baseline",
                   "denoiser.num_steps": 2, "denoiser.channels": 4, "denoiser.crop": 32,
                   "distributed.threads_per_rank": 1}
        command = [TRAIN, *as_arguments(options)]
        with Running(command, ranks=2) as running:
            # A shard that is not complete is given up.
            running.wait_until(lambda: list((folder / "train").glob("shard_*.h5")))
            os.kill(running.ranks()[1], signal.SIGUSR1)
            ended = running.ended()
        self.assert_ended(ended, 85)
        self.assertFalse((folder / "train" / "dataset.json").exists())
        written = {path.name: path.read_bytes() for path in (folder / "train").glob("shard_*.h5")}
        self.assertGreater(len(written), 0)
        self.assertLess(len(written), 20)
        self.assertFalse((folder / "validation").exists())

    def test_a_signal_in_the_evaluation_leaves_it_for_the_next_start(self):
        # Each network is asked slice by slice: 64 x 64 pixels and all classical baselines take a second and more.
        command = self.job(run__stages="baseline,evaluate", denoiser__num_steps=4, evaluation__max_tuning_slices=4)
        with Running(command, ranks=2) as running:
            running.wait_until(lambda: "\nevaluation\n" in running.output)
            os.kill(running.ranks()[1], signal.SIGUSR1)
            ended = running.ended()
        self.assert_ended(ended, 85)
        self.assertFalse((self.run_folder / "evaluation").exists())
        ended = run(command, ranks=2)
        self.assert_ended(ended, 0)
        self.assertTrue((self.run_folder / "evaluation" / "evaluation.json").exists())

    def test_a_signal_in_a_validation_leaves_it_for_the_next_start(self):
        # Two ranks on 24 slices: validation takes most of the time, and the signal comes into one.
        many = self.folder / "data"
        shutil.copytree(self.data, many)
        shutil.rmtree(many / "validation")
        ended = run([DATA, "phantom", *as_arguments({
            "data.output": many / "validation", "data.num_patients": 6, "data.first_patient": 3,
            "data.slices_per_patient": 4, "data.slices_per_shard": 4, "data.size": 64})])
        self.assert_ended(ended, 0)
        options = {"data__folder": many, "training__validate_every_num_steps": 1, "data__source": "shards"}
        pending = False
        for _ in range(10):
            with Running(self.endless_baseline(**options), ranks=2) as running:
                before = last_step(self.training)
                running.wait_until(lambda: last_step(self.training) > before + 1)
                os.kill(running.ranks()[0], signal.SIGTERM)
                ended = running.ended()
            self.assert_ended(ended, 86)
            step = last_step(self.training)
            state = json.loads((checkpoints(self.training)[-1] / "state.json").read_text())
            self.assertEqual(state["step"], step)
            validated = [line["step"] for line in log_lines(self.training) if line.get("event") == "validation"]
            self.assertEqual(state.get("validation_pending", False), step not in validated)
            pending = "validation_pending" in state
            if pending:
                break
        self.assertTrue(pending, "no signal came into a validation")
        # Caught up on at the next start, into which another signal comes: it is left once more.
        with Running(self.endless_baseline(**options), ranks=2) as running:
            running.wait_until(lambda: f"resumes after step {step}" in running.output)
            os.kill(running.ranks()[1], signal.SIGTERM)
            ended = running.ended()
        self.assert_ended(ended, 86)
        self.assertEqual(last_step(self.training), step, "the signal came after the validation")
        self.assertIn("validation_pending", json.loads((checkpoints(self.training)[-1] / "state.json").read_text()))
        self.goes_on(**options)
        validated = [line["step"] for line in log_lines(self.training) if line.get("event") == "validation"]
        self.assertIn(step, validated)

    def test_the_end_of_a_slurm_job_is_left_in_time(self):
        end = time.time() + 8
        variables = {"SLURM_JOB_ID": "7", "SLURM_JOB_START_TIME": str(int(time.time()) - 3),
                     "SLURM_JOB_END_TIME": str(int(end))}
        ended = run(self.endless_baseline(run__margin_seconds=2), variables=variables)
        self.assertLess(time.time(), end)
        self.assert_ended(ended, 85)
        self.saved_at_the_end()
        start = (self.run_folder / "ledger.jsonl").read_text().splitlines()[0]
        self.assertIn('"batch_job":"7"', start)
        self.goes_on()


if __name__ == "__main__":
    unittest.main(verbosity=2)
