"""A cross-section of launch/campaign faults: ranks that are killed, stopped or leave, at points all over a job.

usage: python faults_test.py
"""

import os
import signal
import sys
import tempfile
import time
import unittest
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "support"), str(TESTS / "campaigns")]

from fault_campaign import Campaign, all_faults, named_ranks, quick_faults  # noqa: E402
from leda_job import JobTestCase, Running, checkpoints, last_step, run  # noqa: E402


class Faults(unittest.TestCase):
    def test_jobs_end_with_the_ranks_number_and_go_on(self):
        with tempfile.TemporaryDirectory(prefix="leda_faults_") as folder:
            campaign = Campaign(Path(folder))
            for fault, outcome, wrong in campaign.inject_all(quick_faults()):
                with self.subTest(str(fault)):
                    self.assertEqual(wrong, [], outcome.output)
            self.check_folders_are_durable(campaign)

    def check_folders_are_durable(self, campaign):
        """After a power loss a checkpoint is where its folders' names are on the disk, all the way up."""
        run_folder = campaign.folder / "reference_2_2"
        calls = [(call[0], call[3]) for call in campaign.reference(2, 2)[1][0].calls]
        first = next(i for i, (name, path) in enumerate(calls) if name == "rename" and "/checkpoints/" in path)
        for folder in (run_folder.parent, run_folder, run_folder / "without_leda"):
            # A file that is renamed into the folder brings a sync of its own; the sync meant here comes besides.
            renamed = [path for name, path in calls[:first] if name == "rename" and Path(path).parent == folder]
            self.assertGreater(calls[:first].count(("fsync", str(folder))), len(renamed), folder)

    def test_the_campaign_is_large_enough(self):
        faults = all_faults()
        self.assertGreaterEqual(len(set(faults)), 40)
        self.assertEqual({fault.stage for fault in faults}, {1, 2})
        self.assertEqual({fault.ranks for fault in faults}, {2, 3, 4})
        self.assertTrue({0, 1, 2, 3} <= {fault.rank for fault in faults})

    def test_only_blamed_ranks_count_as_named(self):
        self.assertEqual(named_ranks("error, found by rank 0: rank 1 gives no sign; waiting for it: rank 0 in x"), {1})
        self.assertEqual(named_ranks("x: error on rank 2: y"), {2})
        self.assertEqual(named_ranks("x: error: they differ\n  the value: ranks 0, 1 and 3 wait"), {0, 1, 3})
        self.assertEqual(named_ranks("mpirun noticed that process rank 1 with PID 7 exited on signal 9"), {1})
        self.assertEqual(named_ranks("warning: ranks 0, 1 and 2 on vm: 3 threads for 2 cores"), set())
        self.assertEqual(named_ranks("stage 2 10 %  step 5/50  waits: data 0 %, ranks 7 %"), set())
        self.assertEqual(named_ranks("MPI_ABORT was invoked on rank 0 in communicator"), set())
        self.assertEqual(named_ranks("  Process name: [[24119,1],1]\n  Exit code:    3"), {1})
        self.assertEqual(named_ranks("fault injector: kill at rank 1"), set())


class Checked(JobTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write_phantoms()

    def test_comparing_collectives_changes_no_result(self):
        results = []
        for checked in ("false", "true"):
            run_folder = self.folder / f"checked_{checked}"
            ended = run(self.job(run_folder=run_folder, run__stages="pretrain,denoise",
                                 distributed__check_collectives=checked), ranks=3)
            self.assert_ended(ended, 0)
            results.append([(checkpoints(run_folder / training)[-1] / "networks.safetensors").read_bytes()
                            for training in ("pretrain", "with_leda")])
        self.assertTrue(results[0] == results[1], "networks differ")


class Suspended(JobTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write_phantoms()

    def test_a_job_that_slept_as_a_whole_goes_on(self):
        timeout = 2
        command = self.endless_baseline(distributed__timeout_seconds=timeout)
        folder = self.folder / "run" / "without_leda"
        with Running(command, ranks=2) as running:
            running.wait_until(lambda: last_step(folder) >= 3)
            for number in (signal.SIGSTOP, signal.SIGCONT):
                for rank in running.ranks():
                    os.kill(rank, number)
                if number == signal.SIGSTOP:
                    time.sleep(2 * timeout)
            step = last_step(folder)
            time.sleep(timeout)
            running.wait_until(lambda: last_step(folder) > step)
            running.process.send_signal(signal.SIGUSR1)
            self.assert_ended(running.ended(), 85)


if __name__ == "__main__":
    unittest.main(verbosity=2)
