"""Runs that are stopped, killed, damaged or changed, and started again.

usage: python resume_test.py
"""

import json
import os
import re
import resource
import shutil
import signal
import socket
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from leda_job import TRAININGS, JobTestCase, Running, checkpoints, kill_all, last_step, run  # noqa: E402

# Long enough to be met in the middle: a few seconds for each training.
NUM_STEPS = {"autoencoder__num_steps": 40, "denoiser__num_steps": 80}


class Resume(JobTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write_phantoms()
        cls.uninterrupted = cls.shared / "uninterrupted"
        ended = run(cls.command(run_folder=cls.uninterrupted, **NUM_STEPS), ranks=2, timeout=150)
        if ended.code != 0:
            raise AssertionError(ended)

    def setUp(self):
        super().setUp()
        self.run_folder = self.folder / "run"

    def long_job(self, **options):
        return self.job(**{**NUM_STEPS, **options})

    def assert_same_training(self, training, folder=None):
        """Every byte that a manifest lists, and the file that the training ends with."""
        found, wanted = (checkpoints(root / training)[-1] for root in (folder or self.run_folder, self.uninterrupted))
        self.assertEqual(found.name, wanted.name)
        manifest = (wanted / "manifest.json").read_text()
        self.assertEqual((found / "manifest.json").read_text(), manifest)
        names = [file["name"] for file in json.loads(manifest)["files"]]
        self.assertEqual(sorted(names), ["networks.safetensors", "optimisers.safetensors", "state.json"])
        result = "../../autoencoder.safetensors" if training == "pretrain" else "../../denoiser.safetensors"
        for name in (*names, result):
            self.assertEqual((found / name).read_bytes(), (wanted / name).read_bytes(), f"{training}: {name}")

    def assert_same_end(self):
        for training in TRAININGS:
            self.assert_same_training(training)
        table = "evaluation/evaluation.json"
        self.assertEqual((self.run_folder / table).read_bytes(), (self.uninterrupted / table).read_bytes())

    def restarts(self, training):
        return json.loads((checkpoints(self.run_folder / training)[-1] / "provenance.json").read_text())["restarts"]

    def interrupt(self, running, training, after_step):
        """Waits until the training has made that many steps, and for a checkpoint of it."""
        folder = self.run_folder / training
        running.wait_until(lambda: last_step(folder) >= after_step and checkpoints(folder))

    def test_stopped_by_usr1_it_goes_on_to_the_same_bytes(self):
        with Running(self.long_job(), ranks=2) as running:
            self.interrupt(running, "pretrain", 6)
            running.process.send_signal(signal.SIGUSR1)
            stopped = running.ended()
        self.assert_ended(stopped, 85)
        self.assertIn("start the same command again", stopped.output)
        step = last_step(self.run_folder / "pretrain")
        self.assertLess(step, 40)
        self.assertEqual(checkpoints(self.run_folder / "pretrain")[-1].name, f"step_{step:08}")

        ended = run(self.long_job(), ranks=2, timeout=150)
        self.assert_ended(ended, 0)
        self.assertIn(f"stage 1: resumes after step {step} of 40", ended.output)
        self.assertNotIn("stale", ended.output)
        self.assert_same_end()
        self.assertEqual([self.restarts(training) for training in TRAININGS], [1, 0, 0])

    def test_killed_in_both_stages_it_goes_on_to_the_same_bytes(self):
        with Running(self.long_job(), ranks=2) as running:
            self.interrupt(running, "pretrain", 6)
            os.kill(running.ranks()[1], signal.SIGKILL)
            self.assert_ended(running.ended(), 137)
        self.assertLess(last_step(self.run_folder / "pretrain"), 40)

        with Running(self.long_job(), ranks=2) as running:
            self.interrupt(running, "with_leda", 6)
            kill_all(running.process)
            killed = running.ended()
        self.assert_ended(killed, 137)
        self.assertIn("stage 1: resumes after step", killed.output)
        self.assertIn("stale lock of process", killed.output)
        self.assertLess(last_step(self.run_folder / "with_leda"), 80)

        ended = run(self.long_job(), ranks=2, timeout=150)
        self.assert_ended(ended, 0)
        self.assertIn("stage 2 with LEDA: resumes after step", ended.output)
        self.assertIn(f"on host {socket.gethostname()}", ended.output)
        self.assert_same_end()
        self.assertEqual([self.restarts(training) for training in TRAININGS], [1, 0, 1])

    def copy_of_stage_1(self):
        """As if a run of stage 1 alone had been made here."""
        self.run_folder.mkdir(exist_ok=True)
        shutil.copytree(self.uninterrupted / "pretrain", self.run_folder / "pretrain")
        shutil.copy(self.uninterrupted / "options.cfg", self.run_folder)
        return checkpoints(self.run_folder / "pretrain")

    def flip_byte(self, path):
        with open(path, "r+b") as file:
            file.seek(path.stat().st_size // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 0x10]))

    def test_a_damaged_checkpoint_is_refused_and_the_one_before_used(self):
        newest, before = self.copy_of_stage_1()[:-3:-1]
        self.assertEqual((newest.name, before.name), ("step_00000040", "step_00000036"))
        self.flip_byte(newest / "networks.safetensors")
        ended = run(self.long_job(run__stages="pretrain"), ranks=2)
        self.assert_ended(ended, 0)
        self.assertIn(f"warning: passing over the damaged checkpoint {newest}", ended.errors)
        self.assertIn("the checksum of networks.safetensors does not match", ended.errors)
        self.assertIn("resumes after step 36 of 40", ended.output)
        self.assert_same_training("pretrain")

    def test_where_every_checkpoint_is_damaged_nothing_is_begun_anew(self):
        saved = self.copy_of_stage_1()
        for checkpoint in saved:
            (checkpoint / "optimisers.safetensors").unlink()
        ended = run(self.long_job(run__stages="pretrain"), ranks=2)
        self.assert_refused(ended, 11, saved[0].parent, "optimisers.safetensors is missing")
        self.assertEqual(checkpoints(self.run_folder / "pretrain"), saved)

    def test_damaged_provenance_costs_no_checkpoint(self):
        newest = self.copy_of_stage_1()[-1]
        self.flip_byte(newest / "provenance.json")
        ended = run(self.long_job(run__stages="pretrain"), ranks=2)
        self.assert_ended(ended, 0)
        self.assertNotIn("resumes", ended.output)
        self.assert_same_training("pretrain")

    def test_changed_options_are_refused_by_name_and_harmless_ones_are_not(self):
        options = {"run__stages": "baseline", "denoiser__num_steps": 4}
        self.assert_ended(run(self.job(**options)), 0)
        saved = checkpoints(self.run_folder / "without_leda")
        for ranks in (None, 2):
            ended = run(self.job(**options, leda__weight=0.25, training__global_batch=2), ranks=ranks)
            message = self.assert_refused(ended, 10, "leda.weight: was '0.5', is '0.25'",
                                          "training.global_batch: was '4', is '2'", "--new-run")
            self.assertNotIn("denoiser.num_steps", message)
        self.assertEqual(checkpoints(self.run_folder / "without_leda"), saved)

        options = {"run__stages": "baseline", "denoiser__num_steps": 8, "logging__every_num_steps": 2,
                   "checkpoint__every_num_steps": 2, "checkpoint__keep_last": 5, "data__queue_depth": 2}
        ended = run(self.job(**options))
        self.assert_ended(ended, 0)
        self.assertIn("resumes after step 4 of 8", ended.output)
        self.assertEqual(last_step(self.run_folder / "without_leda"), 8)

    def test_other_data_and_another_autoencoder_are_refused(self):
        autoencoder = self.folder / "autoencoder.safetensors"
        shutil.copy(self.uninterrupted / "pretrain" / "autoencoder.safetensors", autoencoder)
        options = {"run__stages": "denoise", "leda__autoencoder": autoencoder, "denoiser__num_steps": 4}
        self.assert_ended(run(self.job(**options)), 0)
        saved = checkpoints(self.run_folder / "with_leda")

        larger = self.folder / "larger"
        self.write_phantoms(larger, size=96)
        ended = run(self.job(**{**options, "denoiser__num_steps": 8, "data__folder": larger}))
        self.assert_refused(ended, 11, "not the data this run began with", larger)

        ended = run(self.job(run_folder=self.folder / "other", run__stages="pretrain", autoencoder__num_steps=1))
        self.assert_ended(ended, 0)
        shutil.copy(self.folder / "other" / "pretrain" / "autoencoder.safetensors", autoencoder)
        ended = run(self.job(**{**options, "denoiser__num_steps": 8}))
        self.assert_refused(ended, 11, "not the one this run began with")
        self.assertEqual(checkpoints(self.run_folder / "with_leda"), saved)

    def test_interrupt_and_terminate_of_a_rank_end_all_with_a_checkpoint(self):
        for name, number in (("INT", signal.SIGINT), ("TERM", signal.SIGTERM)):
            with self.subTest(name):
                self.run_folder = self.folder / name
                with Running(self.long_job(run_folder=self.run_folder), ranks=2) as running:
                    self.interrupt(running, "pretrain", 6)
                    os.kill(running.ranks()[1], number)  # one is enough: the ranks agree
                    ended = running.ended()
                self.assert_ended(ended, 86)
                self.assertIn("stopped and saved", ended.output)
                step = last_step(self.run_folder / "pretrain")
                self.assertEqual(checkpoints(self.run_folder / "pretrain")[-1].name, f"step_{step:08}")

    def test_time_limit_saves_and_each_start_goes_on(self):
        options = {"run__stages": "baseline", "denoiser__num_steps": 5, "run__max_seconds": 1e-3}
        reached = []
        for _ in range(8):
            ended = run(self.job(**options))
            reached.append(last_step(self.run_folder / "without_leda"))
            if ended.code != 85:
                break
        self.assert_ended(ended, 0)
        self.assertGreater(len(reached), 2)
        # The last one may have had the validation of the last step to make, and no step.
        self.assertEqual(reached[:-1], sorted(set(reached[:-1])), "each start must come further")

    def test_a_second_run_in_the_folder_is_refused_and_a_stale_lock_is_no_obstacle(self):
        command = self.endless_baseline()
        with Running(command) as running:
            self.interrupt(running, "without_leda", 2)
            for ranks in (None, 2):
                second = run(command, ranks=ranks)
                self.assert_refused(second, 12, self.run_folder, f"process {running.process.pid} on host "
                                    f"{socket.gethostname()}", "--new-run")
            self.assertIsNone(running.process.poll(), "the first run must not notice")
            step = last_step(self.run_folder / "without_leda")
            running.wait_until(lambda: last_step(self.run_folder / "without_leda") > step)
            running.process.kill()
            self.assert_ended(running.ended(), 137)
        ended = run([*command, "--run.max_seconds=0.001"])
        self.assert_ended(ended, 85)
        self.assertIn(f"stale lock of process {running.process.pid}", ended.output)

    def test_a_save_that_fails_is_a_warning_and_is_tried_again(self):
        with Running(self.job(run__stages="baseline", denoiser__num_steps=200)) as running:
            self.interrupt(running, "without_leda", 2)
            _, hard = resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (4096, hard))
            running.wait_until(lambda: "was not saved, the next interval tries again" in running.errors)
            resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
            ended = running.ended()
        self.assert_ended(ended, 0)
        self.assertEqual(checkpoints(self.run_folder / "without_leda")[-1].name, "step_00000200")

    def test_a_full_disk_at_the_last_checkpoint_ends_with_the_storage_code(self):
        with Running(self.job(run__stages="baseline", denoiser__num_steps=200)) as running:
            self.interrupt(running, "without_leda", 2)
            _, hard = resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (4096, hard))
            ended = running.ended()
        self.assert_refused(ended, 12, self.run_folder / "without_leda", "File too large")
        failed = [int(step) for step in re.findall(r"step (\d+) was not saved", ended.errors)]
        # Checkpoints every 4 steps; validation, and with it perhaps a new best, every 6. On a busy machine one may be put
        # off behind another; none is tried again before the next is due.
        self.assertEqual(failed, sorted(set(failed)))
        self.assertLessEqual(len(failed), 200 // 4 + 200 // 6, "tried again at the next interval")
        # What was saved before is still there, and the same command goes on from it.
        self.assertTrue(checkpoints(self.run_folder / "without_leda"))
        ended = run(self.job(run__stages="baseline", denoiser__num_steps=200))
        self.assert_ended(ended, 0)
        self.assertIn("resumes after step", ended.output)


if __name__ == "__main__":
    unittest.main(verbosity=2)
