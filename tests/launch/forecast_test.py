"""launch/forecast: the model in cases that can be worked out by hand, and the command on a made-up trace.

usage: python forecast_test.py
"""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "launch"))

from benchmarks import scaling_model as model  # noqa: E402

GIGABIT = 1e9 / 8
FREE = model.Link(0.0, float("inf"))


def flat(num_ranks, latency, bandwidth):
    """Every rank on a node of its own."""
    return model.Cluster(num_ranks, 1, model.Link(latency, bandwidth), FREE)


class RingAllReduce(unittest.TestCase):
    def test_one_rank_sends_nothing(self):
        self.assertEqual(model.ring_seconds(1e9, 1, model.Link(1.0, 1.0)), 0.0)

    def test_two_ranks_send_all_bytes_once_in_two_messages(self):
        self.assertAlmostEqual(model.ring_seconds(GIGABIT, 2, model.Link(1e-3, GIGABIT)), 1.0 + 2e-3)

    def test_many_ranks_send_almost_twice_the_bytes(self):
        seconds = model.ring_seconds(GIGABIT, 512, model.Link(0.0, GIGABIT))
        self.assertAlmostEqual(seconds, 2 * 511 / 512)

    def test_latency_counts_per_round(self):
        self.assertAlmostEqual(model.ring_seconds(0.0, 64, model.Link(5e-6, GIGABIT)), 126 * 5e-6)

    def test_ranks_of_a_node_share_its_way_out(self):
        # 2 nodes of 4: 3/2 of the bytes within the node, then a quarter of them per rank at a quarter of the bandwidth.
        cluster = model.Cluster(8, 4, model.Link(0.0, GIGABIT), model.Link(0.0, 10 * GIGABIT))
        self.assertAlmostEqual(model.all_reduce_seconds(GIGABIT, cluster), 1.5 / 10 + 1.0)

    def test_a_job_within_one_node_uses_no_network(self):
        cluster = model.Cluster(4, 8, model.Link(1.0, 1.0), model.Link(0.0, GIGABIT))
        self.assertAlmostEqual(model.all_reduce_seconds(GIGABIT, cluster), 1.5)


class StepTime(unittest.TestCase):
    timeline = model.Timeline((model.Bucket(0.5, int(GIGABIT / 10)), model.Bucket(1.0, int(GIGABIT / 10))), 1.0, 1.2)

    def test_a_free_network_costs_nothing(self):
        found = model.forecast(self.timeline, flat(512, 0.0, float("inf")))
        self.assertEqual((found.step_seconds, found.exposed_seconds, found.efficiency), (1.2, 0.0, 1.0))

    def test_only_what_does_not_fit_into_backward_is_exposed(self):
        # 0.1 s a bucket: the first is through long before the second is ready.
        found = model.forecast(self.timeline, flat(2, 0.0, GIGABIT))
        self.assertAlmostEqual(found.exposed_seconds, 0.1)
        self.assertAlmostEqual(found.step_seconds, 1.3)
        self.assertAlmostEqual(found.efficiency, 1.2 / 1.3)

    def test_buckets_queue_on_a_slow_link(self):
        # 1 s a bucket: from 0.5 to 1.5 and from 1.5 to 2.5, while backward ends at 1.
        found = model.forecast(self.timeline, flat(2, 0.0, GIGABIT / 10))
        self.assertAlmostEqual(found.exposed_seconds, 1.5)

    def test_more_ranks_are_never_more_efficient(self):
        efficiencies = [model.forecast(self.timeline, flat(number, 5e-6, GIGABIT)).efficiency
                        for number in (1, 2, 8, 64, 512)]
        self.assertEqual(efficiencies, sorted(efficiencies, reverse=True))
        self.assertEqual(efficiencies[0], 1.0)


def made_up_trace(num_steps=5, waited=30_000.0):
    """Steps of 100 ms and a wait; two buckets, ready 40 and 60 ms after the begin."""
    events = [{"name": "process_name", "ph": "M", "pid": 0, "tid": 0, "args": {"name": "rank 0"}}]
    for step in range(num_steps):
        begin = 1e6 * step
        for name, start, length in (("forward", 0, 20_000), ("backward", 20_000, 50_000), ("exposed wait", 70_000, waited),
                                    ("optimiser", 70_000 + waited, 30_000), ("step", 0, 100_000 + waited)):
            events.append({"name": name, "ph": "X", "pid": 0, "tid": 0, "ts": begin + start, "dur": length,
                           "args": {"step": step}})
        for index, (start, num_bytes) in enumerate(((40_000, 1000), (60_000, 2000))):
            events += [{"name": "bucket", "cat": "bucket", "ph": "b", "id": f"{step}.{index}", "pid": 0, "tid": 0,
                        "ts": begin + start, "args": {"step": step, "index": index, "bytes": num_bytes}},
                       {"name": "bucket", "cat": "bucket", "ph": "e", "id": f"{step}.{index}", "pid": 0, "tid": 0,
                        "ts": begin + 70_000 + waited}]
    return events


class TimelineOfATrace(unittest.TestCase):
    def test_waiting_is_left_out(self):
        timeline = model.timeline_of(made_up_trace())
        self.assertEqual([bucket.num_bytes for bucket in timeline.buckets], [1000, 2000])
        for found, wanted in zip([timeline.buckets[0].ready, timeline.buckets[1].ready, timeline.backward_end,
                                  timeline.step_end], (0.04, 0.06, 0.07, 0.1)):
            self.assertAlmostEqual(found, wanted)

    def test_a_trace_without_steps_is_refused(self):
        with self.assertRaises(ValueError):
            model.timeline_of([])


class Command(unittest.TestCase):
    def run_forecast(self, *arguments):
        return subprocess.run([sys.executable, str(REPOSITORY / "launch" / "forecast"), *map(str, arguments)],
                              capture_output=True, text=True, timeout=60, check=False)

    def test_table_and_json_say_the_same(self):
        with tempfile.TemporaryDirectory() as folder:
            trace = Path(folder) / "rank_0.json"
            trace.write_text(json.dumps(made_up_trace()))
            options = (trace, "--gbit-per-s", "0.001", "--latency-us", "10", "--ranks-per-node", "1", "--num-ranks", "1,2")
            table = self.run_forecast(*options)
            report = json.loads(self.run_forecast(*options, "--json").stdout)
        self.assertEqual(table.returncode, 0, table.stderr)
        alone, two = report["forecasts"]
        self.assertAlmostEqual(alone["step_seconds"], 0.1)
        # 1000 and 2000 bytes at 125,000 bytes/s: 8 and 16 ms, plus two rounds of latency each.
        self.assertAlmostEqual(two["exposed_seconds"], 0.06 + 16e-3 + 20e-6 - 0.07)
        self.assertIn(f"{two['step_seconds']:.4f}", table.stdout)

    def test_a_file_that_is_no_trace_is_refused_with_a_remedy(self):
        done = self.run_forecast(REPOSITORY / "README.md")
        self.assertEqual(done.returncode, 1)
        self.assertIn("what to try", done.stderr)

    def test_impossible_links_are_refused(self):
        self.assertEqual(self.run_forecast("x", "--gbit-per-s", "0").returncode, 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
