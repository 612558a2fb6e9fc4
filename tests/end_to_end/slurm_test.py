"""The batch scripts of slurm/ on a real Slurm: preempted, cancelled, with a rank killed, under srun and under mpirun.

usage: python slurm_test.py

Exits with 77, which ctest counts as skipped, where Slurm's packages are missing; with CI=true in the environment that
is a failure.
"""

import json
import os
import re
import signal
import sys
import unittest

from leda_job import PROGRAMS, REPOSITORY, JobTestCase, checkpoints, endless, last_step, run

sys.path.insert(0, str(REPOSITORY / "tests" / "support"))

from private_slurm import PrivateSlurm, end_without_packages, is_alive  # noqa: E402

NUM_STEPS = 120
LAUNCHERS = ("srun", "mpirun")
SIZE = ("--nodes=2", "--ntasks-per-node=2")


class SlurmTestCase(JobTestCase):
    """A cluster for the class, `slurm`, and what an undisturbed run of stage 1 on 4 ranks ends with."""

    cluster = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write_phantoms()
        cls.slurm = cls.enterClassContext(PrivateSlurm(cls.shared / "slurm", **cls.cluster))
        cls.slurm.variables.update(LEDA_PROGRAMS=str(PROGRAMS))

    @classmethod
    def options(cls, run_folder, **options):
        return cls.command(run_folder=run_folder, **{"autoencoder__num_steps": NUM_STEPS, **options})[1:]

    def submit(self, script, *arguments, launcher="srun", sbatch=(), variables=None):
        """From a folder of the test's own: the scripts must not mind where sbatch is called."""
        folder = self.folder / "submitted"
        folder.mkdir(exist_ok=True)
        exported = {"LEDA_LAUNCHER": launcher, **(variables or {})}
        return self.slurm.submit("--export=ALL," + ",".join(f"{name}={value}" for name, value in exported.items()),
                                 *SIZE, *sbatch, REPOSITORY / "slurm" / script, *map(str, arguments), cwd=folder)

    def said(self, job):
        """All that the job wrote: the script's own words, and the log of each attempt."""
        folder = self.folder / "submitted"
        paths = [*folder.glob(f"*-{job}.out"), *sorted(folder.glob(f"slurm_logs/*-{job}/*.log"))]
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')}" for path in paths)

    def wait_for_step(self, job, run_folder, step, phase="pretrain"):
        def has_come():
            if self.slurm.state(job) not in ("PENDING", "RUNNING", "CONFIGURING", "COMPLETING"):
                raise AssertionError(f"job {job}: {self.slurm.job(job)}\n{self.said(job)}")
            return last_step(run_folder / phase) >= step and checkpoints(run_folder / phase)

        self.slurm.wait_until(has_come, 60, f"step {step} of job {job}")

    def assert_job(self, job, state, code=None, seconds=90):
        record = self.slurm.wait_for_state(job, "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED",
                                           seconds=seconds)
        self.assertEqual(record["JobState"], state, f"{record}\n{self.said(job)}")
        if code is not None:
            self.assertEqual(record["ExitCode"], code, self.said(job))
        return record

    def assert_same_end(self, run_folder, undisturbed):
        found, wanted = (checkpoints(folder / "pretrain")[-1] for folder in (run_folder, undisturbed))
        self.assertEqual(found.name, wanted.name)
        manifest = (wanted / "manifest.json").read_bytes()
        self.assertEqual((found / "manifest.json").read_bytes(), manifest)
        for file in json.loads(manifest)["files"]:
            self.assertEqual((found / file["name"]).read_bytes(), (wanted / file["name"]).read_bytes(), file["name"])
        network = "pretrain/autoencoder.safetensors"
        self.assertEqual((run_folder / network).read_bytes(), (undisturbed / network).read_bytes())

    def preempt(self, seconds=2):
        """A job of higher priority that needs all nodes; its number."""
        return self.slurm.submit("--partition=high", "--nodes=4", "--output=/dev/null", f"--wrap=sleep {seconds}")

    def scripts_end_with_their_tables(self, launcher):
        """Both at once; the sweep over two seeds."""
        steps = {"autoencoder__num_steps": 8, "denoiser__num_steps": 8}
        options = [*self.options("unused", **steps)]
        options = [option for option in options if not option.startswith("--run.folder")]
        submitted = {}
        for script, extra, number in (("pipeline.sh", [], 3), ("sweep.sh", ["--seeds", "1,2"], 3)):
            folder = self.folder / script.removesuffix(".sh")
            done = self.slurm.client(
                "env", "LEDA_SBATCH_OPTIONS=--nodes=1 --ntasks-per-node=2", f"LEDA_LAUNCHER={launcher}",
                REPOSITORY / "slurm" / script, *extra, folder, *options, cwd=self.folder)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            jobs = re.findall(r"^==> job (\d+): ", done.stdout, re.MULTILINE)
            self.assertEqual(len(jobs), number, done.stdout)
            submitted[folder] = jobs
        for folder, jobs in submitted.items():
            for job in jobs:
                record = self.slurm.wait_for_state(job, "COMPLETED", "FAILED", "CANCELLED", seconds=120)
                said = "\n".join(path.read_text() for path in folder.glob("logs/**/*") if path.is_file())
                self.assertEqual(record["JobState"], "COMPLETED", said)
            table = (folder / "evaluation" / "evaluation.txt").read_text()
            for row in ("red_cnn_without_leda", "red_cnn_with_leda"):
                self.assertIn(row, table)
        runs = sorted(path.parent.parent.name for path in (self.folder / "sweep").glob("*/*/denoiser.safetensors"))
        self.assertEqual(runs, sorted(f"red_cnn_seed_{seed}_{kind}_leda" for seed in (1, 2) for kind in ("with", "without")))
        self.assertEqual(len(list((self.folder / "sweep").glob("*/pretrain/autoencoder.safetensors"))), 1)


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
