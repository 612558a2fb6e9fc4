"""The batch scripts of slurm/ on a real Slurm: preempted, cancelled, with a rank killed, under srun. The same under mpirun,
preemption without a warning, srun's exit codes, lost nodes, limits, pipeline.sh and sweep.sh are launch/campaign slurm's.

usage: python slurm_test.py

Exits with 77, which ctest counts as skipped, where Slurm's packages are missing; with CI=true in the environment that
is a failure.
"""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from leda_job import last_step, run  # noqa: E402
from private_slurm import end_without_packages  # noqa: E402
from slurm_job import NUM_STEPS, SlurmTestCase  # noqa: E402


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

    def test_saved_requeued_and_resumed_to_the_same_bytes(self):
        run_folder = self.folder / "run"
        job = self.submit("pretrain.sh", *self.options(run_folder), launcher="srun")
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

    def test_a_cancelled_job_stays_cancelled_and_has_a_checkpoint(self):
        self.assertIn("stopped and saved, on request", self.cancelled_job_stays_cancelled("srun"))

    def test_a_killed_rank_ends_the_job_as_a_failure(self):
        self.killed_rank_ends_the_job("srun")


if __name__ == "__main__":
    end_without_packages()
    unittest.main(verbosity=2)
