"""Faults of NCCL and of ranks, on the fake GPU: every job ends with its exit code, its message, and in time.

usage: python nccl_faults_test.py [-v]; LEDA_BINARY_FOLDER names the build
"""

import json
import os
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

JOB = Path(os.environ["LEDA_BINARY_FOLDER"]) / "bin" / "nccl_fault_job"
NUM_RANKS = 3
TIMEOUT_SECONDS = 1.5  # of collectives, in fault_job.cpp
GRACE_SECONDS = 5.0
START_SECONDS = 10.0  # mpirun and three ranks on a busy machine

FINISHED, OPTIONS, COMMUNICATION, INTERNAL, KILLED = 0, 10, 13, 15, 137


class NcclFaults(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="nccl_faults_")
        self.addCleanup(folder.cleanup)
        self.events = Path(folder.name) / "events"

    def ends_with(self, fault, code, *texts):
        started = time.monotonic()
        done = subprocess.run(
            ["mpirun", "-np", str(NUM_RANKS), str(JOB), fault, str(self.events)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=60,
        )
        seconds = time.monotonic() - started
        print(f"{fault}: exit code {done.returncode} after {seconds:.1f} s", flush=True)
        self.assertEqual(done.returncode, code, done.stdout)
        for text in texts:
            self.assertIn(text, done.stdout)
        self.assertLess(seconds, START_SECONDS + TIMEOUT_SECONDS + GRACE_SECONDS, done.stdout)
        return done.stdout

    def last_collectives(self, ranks):
        """Begun by these ranks, as their last events say."""
        last = []
        for rank in ranks:
            events = json.loads((self.events / f"rank_{rank}.json").read_text())["events"]
            last.append([event["text"] for event in events if event["state"] == "begun"][-1])
        return last

    def finishes(self, fault):
        output = self.ends_with(fault, FINISHED)
        for rank in range(NUM_RANKS):
            self.assertIn(f"rank {rank} is through", output)

    def test_without_fault_it_finishes(self):
        self.finishes("none")

    def test_calls_in_progress_are_waited_for(self):
        self.finishes("in_progress")

    def test_slow_links_are_waited_for(self):
        self.finishes("slow_link")

    def test_a_rank_that_connects_late_is_waited_for(self):
        self.finishes("late_start")

    def test_a_start_that_never_ends_is_given_up(self):
        self.ends_with("start_never_ends", COMMUNICATION, "still under way after 1 s", "rank 1")

    def test_a_start_that_fails(self):
        self.ends_with("start_fails", COMMUNICATION, "connecting the GPUs", "unhandled system error", "rank 1")

    def test_a_call_that_fails(self):
        self.ends_with("system_error", COMMUNICATION, "all_reduce of 1000 x Float", "unhandled system error", "rank 1")

    def test_an_error_that_nccl_reports_only_when_asked(self):
        self.ends_with("remote_error", COMMUNICATION, "rank 1", "NCCL reports: remote process exited")

    def test_the_same_where_abort_hangs(self):
        self.ends_with("remote_error_and_abort_hangs", COMMUNICATION, "NCCL reports", "ncclCommAbort did not return")

    def test_a_rank_that_never_gets_to_a_collective(self):
        self.ends_with("hang", COMMUNICATION, "no progress for 1.5 s", "collective 6, all_reduce of 1000 x Float",
                       "all ranks wait in the same collective")
        self.assertEqual(self.last_collectives(range(NUM_RANKS)), ["all_reduce of 1000 Float"] * NUM_RANKS)

    def test_the_same_where_abort_hangs_on_all_ranks(self):
        self.ends_with("hang_and_abort_hangs", COMMUNICATION, "no progress for 1.5 s", "did not return within 0.5 s")

    def test_an_end_that_hangs(self):
        self.ends_with("finalize_hangs", COMMUNICATION, "ncclCommFinalize")

    def test_two_ranks_on_one_device(self):
        self.ends_with("one_device_for_all", OPTIONS, "ranks 0 and 1 have the same GPU")

    def test_more_ranks_than_devices(self):
        self.ends_with("too_few_devices", OPTIONS, "there is no GPU for rank 2", "sees 2 GPUs")

    def test_an_exception_in_the_middle_of_a_step(self):
        self.ends_with("exception", INTERNAL, "error on rank 1: unexpected: a mistake in the middle of a step")

    def test_a_rank_that_calls_another_collective(self):
        self.ends_with("another_count", COMMUNICATION, "ranks 0 and 1 call different collectives",
                       "all_reduce of 999 Float")

    def test_a_rank_killed_in_the_middle_of_a_step(self):
        self.ends_with("kill", KILLED)

    def test_a_rank_stopped_in_the_middle_of_a_step(self):
        self.ends_with("stop", COMMUNICATION, "no progress for 1.5 s", "rank 1 has sent no heartbeat")
        self.assertEqual(self.last_collectives([0, 2]), ["all_reduce of 1000 Float"] * 2)


if __name__ == "__main__":
    unittest.main()
