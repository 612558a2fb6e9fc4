"""What tests and campaigns of slurm/ share: a Slurm of their own, and jobs of its batch scripts that take seconds."""

import json
import os
import re
import signal

from leda_job import PROGRAMS, REPOSITORY, JobTestCase, checkpoints, endless, last_step
from private_slurm import PrivateSlurm, is_alive

NUM_STEPS = 120
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

    def wait_for_step(self, job, run_folder, step, training="pretrain"):
        def has_come():
            if self.slurm.state(job) not in ("PENDING", "RUNNING", "CONFIGURING", "COMPLETING"):
                raise AssertionError(f"job {job}: {self.slurm.job(job)}\n{self.said(job)}")
            return last_step(run_folder / training) >= step and checkpoints(run_folder / training)

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

    def endless_job(self, launcher):
        """Met in the middle: its number."""
        run_folder = self.folder / launcher
        job = self.submit("pretrain.sh", *self.options(run_folder, **endless("autoencoder")), launcher=launcher)
        self.wait_for_step(job, run_folder, 6)
        return job

    def cancelled_job_stays_cancelled(self, launcher):
        """All that the job wrote."""
        job = self.endless_job(launcher)
        ranks = self.slurm.ranks(job)
        self.assertEqual(len(ranks), 4)
        self.slurm.must("scancel", job)
        self.assert_job(job, "CANCELLED")
        self.slurm.wait_until(lambda: not self.slurm.processes(job), 20, "the end of all its processes")
        self.assertEqual([rank for rank in ranks if is_alive(rank)], [])
        self.assertEqual((self.slurm.state(job), self.slurm.restarts(job)), ("CANCELLED", 0), self.said(job))
        self.assertTrue(checkpoints(self.folder / launcher / "pretrain"))
        return self.said(job)

    def killed_rank_ends_the_job(self, launcher):
        job = self.endless_job(launcher)
        os.kill(self.slurm.ranks(job)[1], signal.SIGKILL)
        self.assert_job(job, "FAILED", "137:0", seconds=30)
        self.assertEqual(self.slurm.restarts(job), 0)
        self.assertIn("failed with code 137", self.said(job))

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
