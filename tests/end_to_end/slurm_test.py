"""The batch scripts of slurm/ on a real Slurm: preempted, cancelled, with a rank killed, under srun and under mpirun.

usage: python slurm_test.py

Exits with 77, which ctest counts as skipped, where Slurm's packages are missing; with CI=true in the environment that
is a failure.
"""

import os
import signal
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from leda_job import checkpoints, endless, last_step, run  # noqa: E402
from private_slurm import end_without_packages, is_alive  # noqa: E402
from slurm_job import NUM_STEPS, SlurmTestCase  # noqa: E402

LAUNCHERS = ("srun", "mpirun")


class Preemption(SlurmTestCase):
    """With preempt_send_user_signal: the script is warned."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.undisturbed = cls.shared / "undisturbed"
        ended = run([*cls.command(run_folder=cls.undisturbed, run__stages="pretrain", autoencoder__num_steps=NUM_STEPS)],
                    ranks=4, timeout=120)
        if ended.code != 0:
            raise AssertionError(ended)

    def run_preempted(self, launcher):
        run_folder = self.folder / "run"
        job = self.submit("pretrain.sh", *self.options(run_folder), launcher=launcher)
        self.wait_for_step(job, run_folder, 8)
        high = self.preempt()
        self.slurm.wait_until(lambda: self.slurm.restarts(job) == 1, 40, "the requeue")
        step = last_step(run_folder / "pretrain")
        self.assert_job(high, "COMPLETED")
        self.assert_job(job, "COMPLETED", "0:0")
        said = self.said(job)
        self.assertLess(step, NUM_STEPS, "it was not met in the middle")
        self.assertEqual(self.slurm.restarts(job), 1)
        self.assertIn("saved; requeued", said)
        self.assertIn("--- attempt_2.log", said)
        self.assertIn(f"resumes after step {step} of {NUM_STEPS}", said)
        self.assert_same_end(run_folder, self.undisturbed)

    def test_saved_requeued_and_resumed_to_the_same_bytes_under_srun(self):
        self.run_preempted("srun")

    def test_saved_requeued_and_resumed_to_the_same_bytes_under_mpirun(self):
        self.run_preempted("mpirun")

    def test_a_cancelled_job_stays_cancelled_and_has_a_checkpoint(self):
        for launcher in LAUNCHERS:
            with self.subTest(launcher):
                run_folder = self.folder / launcher
                job = self.submit("pretrain.sh", *self.options(run_folder, **endless("autoencoder")),
                                  launcher=launcher)
                self.wait_for_step(job, run_folder, 6)
                ranks = self.slurm.ranks(job)
                self.assertEqual(len(ranks), 4)
                self.slurm.must("scancel", job)
                self.assert_job(job, "CANCELLED")
                self.slurm.wait_until(lambda: not self.slurm.processes(job), 20, "the end of all its processes")
                self.assertEqual([rank for rank in ranks if is_alive(rank)], [])
                self.assertEqual((self.slurm.state(job), self.slurm.restarts(job)), ("CANCELLED", 0), self.said(job))
                self.assertTrue(checkpoints(run_folder / "pretrain"))
                if launcher == "srun":  # mpirun may kill its ranks before they have saved
                    self.assertIn("stopped and saved, on request", self.said(job))

    def test_a_killed_rank_ends_the_job_as_a_failure(self):
        for launcher in LAUNCHERS:
            with self.subTest(launcher):
                run_folder = self.folder / launcher
                job = self.submit("pretrain.sh", *self.options(run_folder, **endless("autoencoder")),
                                  launcher=launcher)
                self.wait_for_step(job, run_folder, 6)
                os.kill(self.slurm.ranks(job)[1], signal.SIGKILL)
                self.assert_job(job, "FAILED", "137:0", seconds=30)
                self.assertEqual(self.slurm.restarts(job), 0)
                self.assertIn("failed with code 137", self.said(job))

    def test_pipeline_and_sweep_end_with_their_tables(self):
        self.scripts_end_with_their_tables("srun")


class PreemptionWithoutWarning(SlurmTestCase):
    """Without preempt_send_user_signal: Slurm sends the steps TERM, and ends the job when the grace is over."""

    cluster = {"warns": False, "grace": 8}

    def test_the_script_waits_and_slurm_requeues(self):
        for launcher in LAUNCHERS:
            with self.subTest(launcher):
                run_folder = self.folder / launcher
                job = self.submit("pretrain.sh", *self.options(run_folder), launcher=launcher)
                self.wait_for_step(job, run_folder, 8)
                self.preempt(1)
                self.assert_job(job, "COMPLETED", "0:0", seconds=120)
                said = self.said(job)
                self.assertEqual(self.slurm.restarts(job), 1, said)
                self.assertNotIn("; requeued", said, "Slurm itself has to")
                self.assertRegex(said, rf"resumes after step \d+ of {NUM_STEPS}")
                if launcher == "srun":
                    self.assertIn("stopped and saved, on request", said)


if __name__ == "__main__":
    end_without_packages()
    unittest.main(verbosity=2)
