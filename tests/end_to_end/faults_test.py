"""A cross-section of launch/campaign faults: ranks that are killed, stopped or leave, at points all over a job.

usage: python faults_test.py
"""

import tempfile
import unittest
from pathlib import Path

from fault_campaign import Campaign, all_faults, named_ranks, quick_faults


class Faults(unittest.TestCase):
    def test_jobs_end_with_the_ranks_number_and_go_on(self):
        with tempfile.TemporaryDirectory(prefix="leda_faults_") as folder:
            campaign = Campaign(Path(folder))
            for fault in quick_faults():
                with self.subTest(str(fault)):
                    outcome, wrong = campaign.inject(fault)
                    self.assertEqual(wrong, [], outcome.output)

    def test_the_campaign_is_large_enough(self):
        faults = all_faults()
        self.assertGreaterEqual(len(set(faults)), 40)
        self.assertEqual({fault.stage for fault in faults}, {1, 2})
        self.assertEqual({fault.ranks for fault in faults}, {2, 3, 4})
        self.assertTrue({0, 1, 2, 3} <= {fault.rank for fault in faults})

    def test_only_blamed_ranks_count_as_named(self):
        self.assertEqual(named_ranks("error, found by rank 0: rank 1 gives no sign; waiting for it: rank 0 in x"), {1})
        self.assertEqual(named_ranks("x: error on rank 2: y"), {2})
        self.assertEqual(named_ranks("ranks 0, 1 and 3 wait"), {0, 1, 3})
        self.assertEqual(named_ranks("MPI_ABORT was invoked on rank 0 in communicator"), set())
        self.assertEqual(named_ranks("  Process name: [[24119,1],1]\n  Exit code:    3"), {1})
        self.assertEqual(named_ranks("fault injector: kill at rank 1"), set())


if __name__ == "__main__":
    unittest.main(verbosity=2)
