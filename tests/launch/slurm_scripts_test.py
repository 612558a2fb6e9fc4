"""The scripts of slurm/ without a Slurm: made-up srun, scontrol, sbatch and apptainer say what they were called with.

usage: python slurm_scripts_test.py
"""

import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "slurm"


class SlurmScripts(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.programs = self.folder / "programs"
        self.programs.mkdir()
        self.fake("srun", 'echo "srun $*"; exit "${FAKE_CODE-0}"')
        self.fake("scontrol", 'echo "scontrol $*" >>scontrol_calls; case $* in *show*) echo "JobState=RUNNING PreemptTime=None" ;; esac')
        self.fake("leda_dist_train", "exit 0")

    def fake(self, name, body):
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def run_script(self, name, *arguments, in_job=True, folder=SCRIPTS, **variables):
        environment = {"PATH": f"{self.programs}:/usr/bin:/bin", "LEDA_PROGRAMS": str(self.programs), **variables}
        if in_job:
            environment.update(SLURM_JOB_ID="7", SLURM_JOB_NAME="job", SLURM_NTASKS="4")
        done = subprocess.run([folder / name, *arguments], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        return done.returncode, done.stdout

    def log(self, attempt=1):
        return (self.folder / "slurm_logs" / "job-7" / f"attempt_{attempt}.log").read_text()

    def requeues(self):
        return (self.folder / "scontrol_calls").read_text().count("scontrol requeue 7")

    def test_help_is_the_comment_at_the_top(self):
        for name in ("pretrain.sh", "denoise.sh", "evaluate.sh", "pipeline.sh", "sweep.sh"):
            code, output = self.run_script(name, "--help", in_job=False)
            self.assertEqual(code, 0, output)
            self.assertTrue(output.startswith("usage: "), output)
            self.assertIn(f"slurm/{name}", output)

    def test_what_cannot_be_is_refused(self):
        for code, word, name, arguments, variables in (
                (2, "--new-run", "pretrain.sh", ["--new-run"], {}),
                (2, "LEDA_LAUNCHER=pdsh", "pretrain.sh", [], {"LEDA_LAUNCHER": "pdsh"}),
                (2, "LEDA_REQUEUE_LIMIT=many", "pretrain.sh", [], {"LEDA_REQUEUE_LIMIT": "many"}),
                (2, "/no/site.sh", "pretrain.sh", [], {"LEDA_SITE": "/no/site.sh"}),
                (5, "/no/image.sif", "pretrain.sh", [], {"LEDA_CONTAINER": "/no/image.sif"}),
                (5, "/no/leda_dist_train", "pretrain.sh", [], {"LEDA_PROGRAMS": "/no"}),
                (5, "LEDA_HOME", "pretrain.sh", [], {"LEDA_HOME": "/no"}),
                (11, "no_such_run", "evaluate.sh", ["table", "no_such_run"], {}),
                (2, "--seeds", "sweep.sh", ["--seeds", "one", "sweep"], {}),
                (2, "--new-run", "pipeline.sh", ["runs", "--new-run"], {})):
            with self.subTest(word):
                found, output = self.run_script(name, *arguments, **variables)
                self.assertEqual(found, code, output)
                self.assertIn(word, output)
        code, output = self.run_script("pretrain.sh", in_job=False)
        self.assertEqual(code, 2, output)
        self.assertIn("sbatch", output)

    def test_a_copy_finds_the_project_as_slurm_runs_it(self):
        """By LEDA_HOME, by the job's record, from whose Command the arguments are told apart, or where sbatch was called."""
        project = self.folder / "a clone" / "slurm" / "leda.shared"
        for folder in ("slurm", "launch"):
            shutil.copytree(SCRIPTS.parent / folder, project / folder)
        spool = self.folder / "spool" / "job00007"
        spool.mkdir(parents=True)
        submitted_here, record = {"SLURM_SUBMIT_DIR": str(project)}, f"   Command={project}/slurm/SCRIPT --x=/y/slurm/z.sh"
        for name in ("pretrain.sh", "denoise.sh", "evaluate.sh"):
            shutil.copy(SCRIPTS / name, spool / "slurm_script")
            for code, command, variables in (
                    (0, record, {}), (0, "   Command=(null)", submitted_here), (0, "", submitted_here),
                    (0, "   Command=/elsewhere/slurm/SCRIPT", submitted_here), (0, "", {"LEDA_HOME": str(project)}),
                    (5, record, {"LEDA_HOME": "/no"}), (5, "   Command=/elsewhere/slurm/SCRIPT", {}), (5, "", {})):
                with self.subTest(script=name, command=command, **variables):
                    self.fake("scontrol", f"echo 'JobId=7'; echo '{command.replace('SCRIPT', name)}'")
                    found, output = self.run_script("slurm_script", "--help", folder=spool, **variables)
                    self.assertEqual(found, code, output)
                    self.assertIn(f"slurm/{name}" if code == 0 else "LEDA_HOME", output)
        self.fake("scontrol", "exit 1")
        code, output = self.run_script("slurm_script", "--help", folder=spool, **submitted_here)
        self.assertEqual(code, 0, output)

    def test_what_finds_the_project_is_the_same_in_all_batch_scripts(self):
        """It stands in each of them, because it runs before anything else can be found."""
        search = re.compile(r"^# Slurm runs a copy.*?^source [^\n]*job\.bash\"\n", re.MULTILINE | re.DOTALL)
        found = {search.search((SCRIPTS / name).read_text())[0] for name in ("pretrain.sh", "denoise.sh", "evaluate.sh")}
        self.assertEqual(len(found), 1, found)

    def test_arguments_and_settings_pass_through(self):
        code, output = self.run_script("pretrain.sh", "--run.folder=a b", SLURM_CPUS_PER_TASK="3", LEDA_SRUN_MPI="pmi2")
        self.assertEqual(code, 0, output)
        self.assertEqual(self.log().strip(), "srun --mpi=pmi2 --kill-on-bad-exit=0 --wait=30 --cpus-per-task=3 "
                         f"{self.programs}/leda_dist_train --run.stages=pretrain --run.folder=a b")

    def test_the_queue_is_counted_from_what_slurm_says(self):
        """Of each attempt anew, whatever the environment it was submitted from says."""
        self.fake("srun", 'echo "since ${LEDA_JOB_SUBMIT_TIME-unknown}, nodes ${SLURM_JOB_START_TIME-unknown}"')
        for record, own, said in (
                ("SubmitTime=2026-03-10T11:00:00 EligibleTime=2026-03-10T12:30:00 StartTime=2026-03-10T12:30:05", {},
                 "since 1773145800, nodes 1773145805"),
                ("SubmitTime=2026-03-10T11:00:00 EligibleTime=Unknown StartTime=2026-03-10T12:30:05",
                 {"SLURM_JOB_START_TIME": "1773145806"}, "since 1773140400, nodes 1773145806"),
                ("SubmitTime=N/A EligibleTime=2026-99-10T12:30:00", {}, "since unknown, nodes unknown"),
                ("", {}, "since unknown, nodes unknown")):
            with self.subTest(record):
                self.fake("scontrol", f'[ "$SLURM_TIME_FORMAT" = standard ] && echo "JobId=7 {record}"')
                code, output = self.run_script("pretrain.sh", LEDA_JOB_SUBMIT_TIME="1", SLURM_TIME_FORMAT="relative",
                                               TZ="UTC", LEDA_HOME=str(SCRIPTS.parent), **own)
                self.assertEqual(code, 0, output)
                self.assertEqual(self.log().splitlines()[-1], said)

    def test_a_container_stands_before_the_program(self):
        self.fake("apptainer", "exit 0")
        image = self.folder / "leda.sif"
        image.touch()
        code, output = self.run_script("denoise.sh", LEDA_CONTAINER=str(image), LEDA_CONTAINER_OPTIONS="--nv --bind /data")
        self.assertEqual(code, 0, output)
        self.assertIn(f" apptainer exec --nv --bind /data {image} leda_dist_train --run.stages=", self.log())

    def test_codes(self):
        for code, restarts, requeued in (("85", "0", True), ("85", "3", False), ("205", "2", True), ("13", "0", False),
                                         ("138", "0", False)):
            with self.subTest(code=code, restarts=restarts):
                (self.folder / "scontrol_calls").write_text("")
                found, output = self.run_script("pretrain.sh", FAKE_CODE=code, SLURM_RESTART_COUNT=restarts,
                                                LEDA_REQUEUE_LIMIT="3")
                self.assertEqual(found, int(code), output)
                self.assertEqual(self.requeues(), int(requeued), output)
                self.assertTrue(self.log(int(restarts) + 1))

    def test_where_sbatch_refuses_what_came_before_is_cancelled(self):
        self.fake("sbatch", 'case $* in *denoise.sh*) exit 1 ;; esac; echo "41"')
        self.fake("scancel", 'echo "$*" >cancelled')
        code, output = self.run_script("pipeline.sh", "runs", in_job=False)
        self.assertEqual(code, 1, output)
        self.assertEqual((self.folder / "cancelled").read_text().split(), ["41"])


if __name__ == "__main__":
    unittest.main()
