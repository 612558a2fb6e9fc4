"""Cases of launch/campaign slurm that each start their own jobs: what srun makes of the exit codes, row by row the third
table of docs/exit_codes.md; preemption without a warning; what tests/end_to_end/slurm_test.py shows under srun, under mpirun.
"""

import contextlib
import os
import signal

from leda_job import DATA, Running, checkpoints, last_step
from private_slurm import is_alive
from slurm_job import NUM_STEPS, SlurmTestCase

SRUN = ("srun", "--mpi=pmix", "--kill-on-bad-exit=0", "--wait=30", "--nodes=2", "--ntasks-per-node=1")


class WhatSrunMakesOfIt(SlurmTestCase):
    def srun(self, *command, timeout=60):
        return Running([*SRUN, *map(str, command)], timeout=timeout, variables=self.slurm.environment())

    def assert_code(self, code, *command):
        with self.srun(*command) as running:
            self.assert_ended(running.ended(), code)

    @contextlib.contextmanager
    def started(self):
        folder = self.folder / "run" / "without_leda"
        step_before = last_step(folder)
        with self.srun(*self.endless_baseline()) as running:
            running.wait_until(lambda: last_step(folder) >= step_before + 5 and checkpoints(folder))
            yield running

    def ranks(self):
        jobs = self.slurm.client("squeue", "-h", "-t", "running", "-o", "%A").stdout.split()
        return self.slurm.ranks(jobs[-1])

    def test_the_code_of_all_ranks(self):
        for code, command in ((0, [DATA, "info", "--data.folder", self.data / "test"]), (10, [DATA, "info"]),
                              (85, [*self.endless_baseline(), "--run.max_seconds=0.001"])):
            self.assert_code(code, *command)

    def test_the_code_of_the_one_rank_that_failed(self):
        choose = f'[ $SLURM_PROCID = 0 ] && d="{self.data}" || d="{self.folder}"; exec {DATA} info --data.folder=$d/test'
        self.assert_code(11, "sh", "-c", choose)

    def test_usr1_and_usr2_to_srun(self):
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            with self.started() as running:
                running.process.send_signal(number)
                self.assert_ended(running.ended(), 85)

    def test_interrupt_and_terminate_to_srun(self):
        with self.started() as running:
            running.process.send_signal(signal.SIGTERM)
            self.assert_ended(running.ended(), 137)
        with self.started() as running:
            running.process.send_signal(signal.SIGINT)
            running.wait_until(lambda: "interrupt (one more within 1 sec to abort)" in running.errors)
            running.process.send_signal(signal.SIGINT)
            self.assert_ended(running.ended(), 137)

    def test_scancel_of_the_job(self):
        with self.started() as running:
            self.slurm.must("scancel", self.slurm.client("squeue", "-h", "-t", "running", "-o", "%A").stdout.split()[-1])
            self.assert_ended(running.ended(), 86)

    def test_a_killed_rank_alone_on_its_node(self):
        """srun waits for the others as long as --wait says."""
        with self.started() as running:
            os.kill(self.ranks()[1], signal.SIGKILL)
            self.assert_ended(running.ended(), 137)

    def test_srun_itself_is_killed(self):
        with self.started() as running:
            ranks = self.ranks()
            self.assertEqual(len(ranks), 2)
            running.process.kill()
            self.assert_ended(running.ended(), 137)
            self.slurm.wait_until(lambda: not any(map(is_alive, ranks)), 40, "the end of the ranks")


class PreemptionWithoutWarning(SlurmTestCase):
    """Without preempt_send_user_signal: Slurm sends the steps TERM, and ends the job when the grace is over."""

    cluster = {"warns": False, "grace": 8}

    def test_the_script_waits_and_slurm_requeues(self):
        run_folder = self.folder / "srun"
        job = self.submit("pretrain.sh", *self.options(run_folder), launcher="srun")
        self.wait_for_step(job, run_folder, 8)
        self.preempt(1)
        self.assert_job(job, "COMPLETED", "0:0", seconds=120)
        said = self.said(job)
        self.assertEqual(self.slurm.restarts(job), 1, said)
        self.assertNotIn("; requeued", said, "Slurm itself has to")
        self.assertRegex(said, rf"resumes after step \d+ of {NUM_STEPS}")
        self.assertIn("stopped and saved, on request", said)


class UnderMpirun(SlurmTestCase):
    def test_a_cancelled_job_stays_cancelled_and_has_a_checkpoint(self):
        self.cancelled_job_stays_cancelled("mpirun")  # which may kill its ranks before they have said that they saved

    def test_a_killed_rank_ends_the_job_as_a_failure(self):
        self.killed_rank_ends_the_job("mpirun")
