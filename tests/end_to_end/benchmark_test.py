"""launch/benchmark on tiny networks and states: every part runs and is reported. Times are not judged.

usage: python benchmark_test.py
"""

import json
import math
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "tests" / "support"), str(REPOSITORY / "launch")]

from benchmarks import checkpoint_page, distributed, distributed_page  # noqa: E402
from benchmarks.network_shaping import ShapedLink  # noqa: E402
from benchmarks.step_runs import DDP_PYTHON  # noqa: E402
from leda_job import environment  # noqa: E402


def measure(folder, *arguments):
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "launch" / "benchmarks" / "distributed.py"), "--tiny", "--pairs", "1",
         "--repeats", "1", "--steps", "3", "--ranks", "2", "--output", folder, *arguments],
        env=environment(), capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise AssertionError(done.stdout + done.stderr)


class Benchmark(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            measure(folder)
            cls.report = json.loads((Path(folder) / "benchmark_distributed.json").read_text())
            cls.page = (Path(folder) / "benchmark_distributed.md").read_text()

    def part(self, name, is_possible):
        """Its entries; None where it was left out, which must have been for the known reason."""
        self.assertEqual(name in self.report, is_possible)
        self.assertEqual(name in self.report["left_out"], not is_possible)
        return self.report.get(name)

    def test_report_says_where_it_comes_from(self):
        self.assertGreaterEqual(self.report["machine"]["cores"], 1)
        self.assertIn("all_reduce", self.report["records"])
        for record in self.report["records"].values():
            self.assertIn("--tiny", record["command"])
            self.assertRegex(record["commit"], r"^[0-9a-f]{7,}|unknown")
            self.assertIn(record["command"], self.page)
            self.assertTrue(0 <= record["share_of_others"] < 1, record)

    def test_parts_that_are_not_measured_again_stay(self):
        before = {name: entry for name, entry in self.report.items() if name != "all_reduce"}
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "benchmark_distributed.json").write_text(json.dumps(self.report))
            measure(folder, "--parts", "all_reduce")
            after = json.loads((Path(folder) / "benchmark_distributed.json").read_text())
        self.assertIn("--parts all_reduce", after["records"].pop("all_reduce")["command"])
        self.assertEqual(after.pop("all_reduce")[0]["num_ranks"], 2)
        before["records"] = {part: record for part, record in before["records"].items() if part != "all_reduce"}
        self.assertEqual(after, before)

    def test_the_large_sum_is_measured_both_ways(self):
        for entry in self.part("all_reduce", True):
            self.assertGreater(entry["communicator_seconds"], 0)
            self.assertGreater(entry["mpi_seconds"], 0)

    def test_ddp_computes_the_same(self):
        for entry in self.part("ddp", DDP_PYTHON.exists()) or []:
            mine, other = entry["last_losses"]
            self.assertTrue(math.isclose(mine, other, rel_tol=1e-3), entry)
            self.assertGreater(min(entry["ratio"].values()), 0)

    def test_shaped_links_are_used(self):
        for entry in self.part("overlap", ShapedLink.is_possible()) or []:
            self.assertEqual(set(entry["step_seconds"]), {"alone", "overlap", "no_overlap"})
        for entry in self.part("forecast", ShapedLink.is_possible()) or []:
            self.assertGreaterEqual(entry["predicted"], entry["alone"])
            self.assertGreater(entry["measured"], 0)


class CheckpointBenchmark(unittest.TestCase):
    def test_all_is_measured_and_reported(self):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, str(REPOSITORY / "launch" / "benchmarks" / "checkpoint.py"), "--bytes", "3145728",
                 "--tensors", "4", "--rounds", "1", "--repeats", "1", "--steps", "150", "--folder", folder,
                 "--output", folder],
                env=environment(), capture_output=True, text=True, timeout=300, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            report = json.loads((Path(folder) / "benchmark_checkpoint.json").read_text())
            self.assertEqual({path.name for path in Path(folder).iterdir()},
                             {"benchmark_checkpoint.json", "benchmark_checkpoint.md"})
            self.assertIn(report["command"], (Path(folder) / "benchmark_checkpoint.md").read_text())
        self.assertEqual([entry["num_ranks"] for entry in report["store"]], [1, 1, 2])
        for entry in report["store"]:
            self.assertGreater(min(entry["seconds"].values()), 0)
        self.assertEqual(bool(report["torch"]), DDP_PYTHON.exists())
        self.assertGreaterEqual(report["training"]["num_saves"], 1)
        self.assertGreater(report["training"]["pause_seconds"], 0)

    def test_a_missed_target_is_called_so(self):
        seconds = dict.fromkeys(("plain_write", "save", "plain_read", "load", "verify", "snapshot"), 1.0)
        entry = {"name": "one", "num_ranks": 1, "num_repeats": 1, "seconds": seconds, "share": {"save": 0.79, "load": 0.81},
                 "share_range": {"save": [0.7, 0.8], "load": [0.8, 0.9]}}
        page = "\n".join(checkpoint_page.store_section({"num_bytes": 1000, "store": [entry]}))
        self.assertIn("0.79 **missed**", page)
        self.assertIn("0.81 met", page)


class Page(unittest.TestCase):
    def test_other_programs_on_the_machine_are_seen(self):
        before = {"all": 100.0, "busy": 50.0, "own": 10.0}
        after = {"all": 120.0, "busy": 65.0, "own": 20.0}
        self.assertAlmostEqual(distributed.share_of_others(before, after), 5 / 20)
        record = {"command": "c", "commit": "0", "date": "today", "steps": 7, "share_of_others": 0.25}
        report = {"machine": {"processor": "p", "cores": 2, "memory_gib": 1, "kernel": "k"}, "left_out": {},
                  "records": {"all_reduce": record}, "all_reduce": []}
        self.assertIn("busy with other work during all_reduce", distributed_page.page_of(report))
        record["share_of_others"] = 0.01
        self.assertNotIn("busy", distributed_page.page_of(report))

    def test_a_missed_target_is_called_so(self):
        entry = {"num_ranks": 2, "num_bytes": 2**26, "num_pairs": 15, "communicator_seconds": 0.012,
                 "mpi_seconds": 0.01, "ratio": 1.2}
        self.assertIn("1.200 **missed**", "\n".join(distributed_page.all_reduce_section([entry])))
        entry["ratio"] = 1.05
        self.assertIn("1.050 met", "\n".join(distributed_page.all_reduce_section([entry])))


if __name__ == "__main__":
    unittest.main(verbosity=2)
