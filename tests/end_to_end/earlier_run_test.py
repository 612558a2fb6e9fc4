"""Files of an earlier version: runs go on from its checkpoints, and end as they ended then.

usage: python earlier_run_test.py

On the processor that the earlier version ran on, the same job must give the same bits; a change that is meant to change
them says so and makes the record anew (tests/fixtures/earlier_run.py).
"""

import json
import shutil
import sys
import unittest
from pathlib import Path

import numpy
import safetensors.numpy

TESTS = Path(__file__).resolve().parents[1]
FIXTURES = TESTS / "fixtures"
sys.path[:0] = [str(TESTS / "support"), str(FIXTURES)]

from leda_job import DATA, PROGRAMS, TRAIN, JobTestCase, run  # noqa: E402
from earlier_run import KEPT_STEP, LAST_STEP, RUNS, arguments, hashes_of_short_job, processor  # noqa: E402

TOLERANCE = 1e-5  # of other processors, in double precision


class EarlierRun(JobTestCase):
    def setUp(self):
        super().setUp()
        self.run_of_then = self.folder / "run"
        shutil.copytree(FIXTURES / "version_0_1", self.run_of_then)

    def test_both_stages_go_on_and_end_as_they_did(self):
        for name, (_, training, result) in RUNS.items():
            with self.subTest(name):
                ended = run([TRAIN, *arguments(name)], cwd=self.run_of_then)
                self.assert_ended(ended, 0)
                self.assertIn(f"resumes after step {KEPT_STEP} of {LAST_STEP}", ended.output)
                found = safetensors.numpy.load_file(self.run_of_then / name / training / result)
                wanted = safetensors.numpy.load_file(self.run_of_then / "final" / result)
                self.assertEqual(found.keys(), wanted.keys())
                for key, tensor in wanted.items():
                    self.assertLessEqual(numpy.abs(found[key] - tensor).max(), TOLERANCE, key)

    def test_the_short_job_has_the_bits_of_then_on_the_processor_of_then(self):
        record = json.loads((self.run_of_then / "hashes.json").read_text())
        found = hashes_of_short_job(self.run_of_then, PROGRAMS)
        self.assertEqual(found.keys(), record["sha256"].keys())
        if processor() == record["processor"]:
            self.assertEqual(found, record["sha256"])
        else:
            print(f"bits not compared: recorded on {record['processor']}, this is {processor()}")

    def test_the_data_of_then_is_read_and_verified(self):
        ended = run([DATA, "verify", f"--data.folder={self.run_of_then / 'data' / 'train'}"])
        self.assert_ended(ended, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
