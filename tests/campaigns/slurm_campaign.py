"""launch/campaign slurm: what happens to jobs on a real Slurm, under srun and under mpirun, and whether they still end
with the undisturbed run's bytes.

usage: python slurm_campaign.py TABLE.md [NAME...]
"""

import os
import subprocess
import sys
import time
import traceback
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import slurm_cases  # noqa: E402
from campaign_page import commit, mpirun_version, output_of, say  # noqa: E402
from leda_job import checkpoints, endless, last_step, run  # noqa: E402
from slurm_job import NUM_STEPS, SlurmTestCase  # noqa: E402


class Campaign(SlurmTestCase):
    """Its methods are the events; each says what it saw."""

    cluster = {"node_timeout": 10}
    __test__ = False

    @classmethod
    def prepare(cls):
        cls.setUpClass()
        cls.undisturbed = cls.shared / "undisturbed"
        ended = run(cls.command(run_folder=cls.undisturbed, run__stages="pretrain", autoencoder__num_steps=NUM_STEPS),
                    ranks=4, timeout=120)
        if ended.code != 0:
            raise AssertionError(ended)

    def begin(self, name, launcher):
        self.launcher = launcher
        self.folder = self.shared / f"{name}_{launcher}"
        self.folder.mkdir()
        self.run_folder = self.folder / "run"

    def started(self, step=8, job_options=None, **options):
        job = self.submit("pretrain.sh", *self.options(self.run_folder, **(job_options or {})),
                          launcher=self.launcher, **options)
        self.wait_for_step(job, self.run_folder, step)
        return job

    def finished(self, job, restarts=1):
        self.assert_job(job, "COMPLETED", "0:0", seconds=180)
        self.assertEqual(self.slurm.restarts(job), restarts, self.said(job))
        self.assert_same_end(self.run_folder, self.undisturbed)
        return f"COMPLETED after {restarts} restart(s), the undisturbed run's bytes"

    def time_limit(self):
        # Slurm looks at limits every half minute: the warning comes 60 to 90 s before the limit.
        job = self.started(job_options=endless("autoencoder"), sbatch=("--time=2", "--signal=B:USR1@60"))
        self.slurm.wait_until(lambda: self.slurm.restarts(job) == 1, 120, "the requeue")
        step = last_step(self.run_folder / "pretrain")
        self.assertIn("saved; requeued", self.said(job))
        self.slurm.wait_until(lambda: last_step(self.run_folder / "pretrain") > step, 60, "the second attempt")
        self.assertIn(f"resumes after step {step} of", self.said(job))
        self.slurm.must("scancel", job)
        self.assert_job(job, "CANCELLED")
        return f"warned, saved and requeued by the script; resumed after step {step}"

    def requeue_without_warning(self):
        job = self.started()
        self.slurm.must("scontrol", "requeue", job)
        return self.finished(job)

    def rank_nodes(self, job):
        return self.slurm.must("scontrol", "show", "hostnames", self.slurm.job(job)["NodeList"]).split()

    def node_lost(self):
        job = self.started(sbatch=("--nodes=2", "--ntasks-per-node=2"))
        node = self.rank_nodes(job)[1]
        self.slurm.kill_node(node)
        self.slurm.wait_until(lambda: self.slurm.restarts(job) == 1, 120, "the requeue")
        said = self.said(job)
        by_script = "mpirun has lost a node; requeued" in said
        self.slurm.wait_until(lambda: self.slurm.client("sinfo", "-h", "-n", node, "-t", "down", "-o", "%N").stdout.strip(),
                              90, f"{node} to be down")
        self.slurm.revive_node(node)
        self.assertEqual(by_script, self.launcher == "mpirun", said)
        return ("seen by mpirun first, requeued by the script; " if by_script else "seen by Slurm first and requeued by it; ") + \
            self.finished(job)

    def requeue_limit(self):
        job = self.started(job_options=endless("autoencoder"), variables={"LEDA_REQUEUE_LIMIT": "1"})
        self.slurm.must("scancel", "--signal=USR1", "-b", job)
        self.slurm.wait_until(lambda: self.slurm.restarts(job) == 1, 40, "the requeue")
        step = last_step(self.run_folder / "pretrain")
        self.slurm.wait_until(lambda: last_step(self.run_folder / "pretrain") > step, 60, "the second attempt")
        self.slurm.must("scancel", "--signal=USR1", "-b", job)
        self.assert_job(job, "FAILED", "85:0")
        self.assertIn("LEDA_REQUEUE_LIMIT is 1", self.said(job))
        self.assertEqual(checkpoints(self.run_folder / "pretrain")[-1].name,
                         f"step_{last_step(self.run_folder / 'pretrain'):08}")
        return "requeued once; the second warning ends it as FAILED 85:0, saved"

    def pipeline_and_sweep(self):
        self.scripts_end_with_their_tables(self.launcher)
        return "pipeline.sh to its end, sweep.sh (2 seeds x red_cnn x {without, with}) to its table"


class CaseRows(unittest.TestResult):
    """A row of the table for each test of slurm_cases."""

    def __init__(self):
        super().__init__()
        self.rows = []
        self.begun = time.monotonic()

    def startTest(self, test):
        super().startTest(test)
        self.begun = time.monotonic()

    def add_row(self, test, text, passed):
        event = test.id().rsplit(".", 1)[-1].removeprefix("test_")
        launcher = "mpirun" if isinstance(test, slurm_cases.UnderMpirun) else "srun"
        self.rows.append((event, launcher, text, time.monotonic() - self.begun, passed))
        say(f"{event} {launcher}: {text} ({self.rows[-1][3]:.0f} s)")

    def addSuccess(self, test):
        super().addSuccess(test)
        self.add_row(test, "as docs/exit_codes.md and docs/slurm.md say", True)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        print(self.failures[-1][1])
        self.add_row(test, "see the messages of the campaign", False)

    def addError(self, test, error):
        super().addError(test, error)
        print(self.errors[-1][1])
        self.add_row(test, "see the messages of the campaign", False)


def rows_of_cases():
    result = CaseRows()
    unittest.defaultTestLoader.loadTestsFromModule(slurm_cases).run(result)
    return result.rows


EVENTS = ("requeue_without_warning", "node_lost", "requeue_limit", "time_limit", "pipeline_and_sweep")


def table(rows, seconds):
    slurm = output_of("slurmctld", "-V") or output_of("/usr/sbin/slurmctld", "-V")
    lines = [
        "# Jobs on a real Slurm", "",
        "Made by `launch/campaign slurm`. What the scripts do: [slurm.md](../slurm.md); codes: "
        "[exit_codes.md](../exit_codes.md). Preemption, cancellation and killed ranks under srun are in the test suite "
        "(`tests/end_to_end/slurm_test.py`).", "",
        f"- {len(rows)} events, {sum(passed for *_, passed in rows)} passed",
        f"- {slurm}, {mpirun_version()}; four nodes on one machine of {os.cpu_count()} cores; jobs of "
        f"2 nodes x 2 ranks, stage 1 of {NUM_STEPS} steps; SlurmdTimeout 10 s, KillWait 5 s",
        f"- commit {commit()}; {seconds / 60:.0f} minutes; "
        f"{time.strftime('%Y-%m-%d', time.gmtime())}", "",
        "| event | launcher | what became of the job | seconds | verdict |", "|---|---|---|---|---|"]
    for event, launcher, text, duration, passed in rows:
        lines.append(f"| {event.replace('_', ' ')} | {launcher} | {text} | {duration:.0f} | {'passed' if passed else 'FAILED'} |")
    return "\n".join(lines) + "\n"


def main(arguments):
    names = arguments[1:] or (*EVENTS, "cases")
    campaign = Campaign()
    rows = []
    begun = time.monotonic()
    if "cases" in names:
        rows += rows_of_cases()
        names = [name for name in names if name != "cases"]
    try:
        if names:
            Campaign.prepare()
        for name in names:
            for launcher in ("srun", "mpirun"):
                campaign.begin(name, launcher)
                start = time.monotonic()
                try:
                    text, passed = getattr(campaign, name)(), True
                except (AssertionError, subprocess.SubprocessError):
                    traceback.print_exc()
                    text, passed = "see the messages of the campaign", False
                rows.append((name, launcher, text, time.monotonic() - start, passed))
                say(f"{name} {launcher}: {text} ({rows[-1][3]:.0f} s)")
    finally:
        Campaign.doClassCleanups()
    Path(arguments[0]).write_text(table(rows, time.monotonic() - begun))
    return 0 if all(passed for *_, passed in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
