"""launch/run: stops in order, restarts what may be restarted, up to its limit, and nothing else.

usage: python launch_run_test.py
"""

import contextlib
import os
import re
import shutil
import signal
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from leda_job import (REPOSITORY, JobTestCase, Running, checkpoints, descendants, last_step, log_lines,  # noqa: E402
                      run)

LAUNCH = str(REPOSITORY / "launch" / "run")


class LaunchRun(JobTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write_phantoms()

    def setUp(self):
        super().setUp()
        self.training = self.folder / "run" / "without_leda"

    def baseline(self, num_steps, **options):
        return self.job(run__stages="baseline", denoiser__num_steps=num_steps, **options)

    def launched(self, *command, restarts=2, pause=0, ranks=2):
        return [LAUNCH, "-n", str(ranks), "--restarts", str(restarts), "--pause", str(pause), "--", *command]

    def scripted(self, *codes):
        """A program that ends with the next of these codes each time; a negative one is a signal to itself."""
        for number, code in enumerate(codes):
            ending = f"kill -{-code} $$" if code < 0 else f"exit {code}"
            (self.folder / f"ending_{number}").write_text(ending)
        path = self.folder / "program"
        path.write_text(f'#!/bin/sh\ncd "{self.folder}"\nfor i in $(seq 0 99); do\n'
                        'if mkdir "begun_$i" 2>/dev/null; then . "./ending_$i"; fi\ndone\n')
        path.chmod(0o755)
        return str(path)

    def attempts(self, ended):
        return len(re.findall(r"^==> attempt \d+ of at most", ended.output, re.MULTILINE))

    @contextlib.contextmanager
    def in_the_middle(self, **options):
        with Running(self.launched(*self.endless_baseline(), **options)) as running:
            running.wait_until(lambda: last_step(self.training) >= 4 and checkpoints(self.training))
            yield running

    def test_int_and_term_save_and_end_with_86(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number), self.in_the_middle() as running:
                running.process.send_signal(number)
                ended = running.ended()
                self.assert_ended(ended, 86)
                self.assertEqual(self.attempts(ended), 1, ended)
                step = last_step(self.training)
                self.assertEqual(checkpoints(self.training)[-1].name, f"step_{step:08}", ended)
                shutil.rmtree(self.folder / "run")

    def test_ctrl_c_reaches_mpirun_by_the_script_alone(self):
        with Running(self.launched(*self.endless_baseline()), start_new_session=True) as running:
            running.wait_until(lambda: last_step(self.training) >= 4 and checkpoints(self.training))
            os.killpg(running.process.pid, signal.SIGINT)  # what a terminal does
            ended = running.ended()
        self.assert_ended(ended, 86)
        self.assertIn("stopped and saved", ended.output)

    def test_usr1_saves_and_ends_with_85_without_a_restart(self):
        with self.in_the_middle() as running:
            running.process.send_signal(signal.SIGUSR1)
            ended = running.ended()
        self.assert_ended(ended, 85)
        self.assertEqual(self.attempts(ended), 1, ended)

    def test_a_signal_while_the_ranks_start_is_not_lost(self):
        for seconds in (0, 0.05, 0.1, 0.2, 0.4, 0.8):
            with self.subTest(seconds), Running(self.launched(*self.endless_baseline()), timeout=20) as running:
                running.wait_until(lambda: "attempt 1" in running.output)
                time.sleep(seconds)
                running.process.send_signal(signal.SIGTERM)
                ended = running.ended()
                self.assert_ended(ended, 86)
                self.assertEqual(self.attempts(ended), 1, ended)

    def test_the_third_signal_ends_a_run_that_does_not_stop(self):
        path = self.folder / "deaf"
        path.write_text("#!/bin/sh\ntrap '' USR1\necho deaf\nwhile :; do sleep 0.1; done\n")
        path.chmod(0o755)
        with Running(self.launched(str(path))) as running:
            running.wait_until(lambda: len(re.findall("^deaf$", running.output, re.MULTILINE)) == 2)
            for word in ("saves and leaves", "skips verification", "ending the ranks now"):
                running.process.send_signal(signal.SIGINT)
                running.wait_until(lambda: word in running.output)
            ended = running.ended()
        self.assertEqual(self.attempts(ended), 1, ended)
        self.assertNotIn(ended.code, (0, 85, 86), ended)

    def test_the_time_limit_goes_on_to_the_end(self):
        ended = run(self.launched(*self.baseline(30, run__max_seconds=0.001), restarts=3))
        self.assert_ended(ended, 85)
        self.assertEqual(self.attempts(ended), 4, ended)
        steps = [int(step) for step in re.findall(r"resumes after step (\d+)", ended.output)]
        self.assertEqual(len(steps), 3, ended)
        self.assertEqual(steps, sorted(set(steps)), "each attempt must get further")
        self.assert_ended(run(self.launched(*self.baseline(30))), 0)
        self.assertEqual(last_step(self.training), 30)

    def test_a_killed_rank_is_started_again_and_ends_with_the_undisturbed_bytes(self):
        undisturbed = self.folder / "undisturbed"
        self.assert_ended(run(self.baseline(60, run_folder=undisturbed), ranks=2), 0)
        with Running(self.launched(*self.baseline(60))) as running:
            running.wait_until(lambda: last_step(self.training) >= 8 and checkpoints(self.training))
            os.kill(running.ranks()[1], signal.SIGKILL)
            ended = running.ended()
        self.assert_ended(ended, 0)
        self.assertEqual(self.attempts(ended), 2, ended)
        self.assertIn("ended with 137; started again", ended.output)
        for folder in (self.training, undisturbed / "without_leda"):
            self.assertEqual(max(line["step"] for line in log_lines(folder)), 60)
        name = "denoiser.safetensors"
        self.assertEqual((self.training / name).read_bytes(), (undisturbed / "without_leda" / name).read_bytes())

    def test_a_killed_mpirun_is_started_again(self):
        with self.in_the_middle(restarts=1) as running:
            mpirun = [found for found in descendants(running.process.pid)
                      if Path(f"/proc/{found}/comm").read_text() == "mpirun\n"]
            os.kill(mpirun[0], signal.SIGKILL)
            running.wait_until(lambda: "resumes after step" in running.output)
            running.process.send_signal(signal.SIGINT)
            ended = running.ended()
        self.assert_ended(ended, 86)
        self.assertEqual(self.attempts(ended), 2, ended)

    def test_which_codes_are_started_again(self):
        for code, restarts in ((10, False), (11, False), (14, False), (15, False), (86, False), (12, True), (13, True),
                               (85, True), (1, True), (-9, True), (-6, True), (-11, True)):
            with self.subTest(code):
                for path in self.folder.glob("begun_*"):
                    path.rmdir()
                ended = run(self.launched(self.scripted(code, 0), ranks=1))
                self.assertEqual(self.attempts(ended), 2 if restarts else 1, ended)
                self.assert_ended(ended, 0 if restarts else code)

    def test_crashes_end_at_the_limit_and_the_pause_grows(self):
        ended = run(self.launched(self.scripted(13, 13, 13, 13), ranks=1, restarts=2, pause=1))
        self.assert_ended(ended, 13)
        self.assertEqual(re.findall(r"started again in (\d+) s", ended.output), ["1", "2"])
        self.assertIn("restarted 2 times, that was the last", ended.output)

    def test_a_signal_in_the_pause_ends_it(self):
        with Running(self.launched(self.scripted(13, 0), ranks=1, pause=100)) as running:
            running.wait_until(lambda: "started again in 100 s" in running.output)
            running.process.send_signal(signal.SIGINT)
            self.assert_ended(running.ended(), 86)

    def test_what_cannot_be_is_refused(self):
        for code, arguments in ((2, ["-n", "0", "--", "true"]), (2, ["--restarts", "many", "--", "true"]), (2, ["-n"]),
                                (2, []), (2, ["leda_dist_train"]), (2, ["--", "leda_dist_train", "--new-run"]),
                                (5, ["--", "no_such_program"])):
            ended = run([LAUNCH, *arguments])
            self.assert_ended(ended, code)
            self.assertEqual(self.attempts(ended), 0, ended)


if __name__ == "__main__":
    unittest.main(verbosity=2)
