"""The traces of a job on two ranks: whole, nested, on one clock, and in agreement with the logged shares.

usage: python trace_test.py
"""

import json
import sys
import unittest
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from leda_job import PHANTOM_OPTIONS, JobTestCase, log_lines, run  # noqa: E402

TRAININGS = ("pretrain", "with_leda")
NUM_STEPS = 12
WAITS = ("exposed wait", "sum over ranks", "stop agreement")


def end(event):
    return event["ts"] + event["dur"]


class Traces(JobTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.run_folder = cls.shared / "traced"
        options = {**PHANTOM_OPTIONS, "run__stages": "pretrain,denoise", "logging__trace": "true",
                   "logging__every_num_steps": 4, "distributed__bucket_bytes": 20000,
                   "distributed__first_bucket_bytes": 2000}
        cls.command_line = cls.command(run_folder=cls.run_folder, **options)
        ended = run(cls.command_line, ranks=2)
        if ended.code != 0:
            raise AssertionError(ended)
        cls.output = ended.output
        folder = {training: cls.run_folder / training / "trace" for training in TRAININGS}
        cls.events = {(training, rank): json.loads((folder[training] / f"rank_{rank}.json").read_text())
                      for training in TRAININGS for rank in (0, 1)}

    def spans(self, training, rank):
        return [event for event in self.events[training, rank] if event["ph"] == "X"]

    def named(self, training, rank, name):
        return [event for event in self.spans(training, rank) if event["name"] == name]

    def test_every_step_has_its_spans(self):
        for key in self.events:
            with self.subTest(key=key):
                for name in ("data wait", "step", "stop agreement"):
                    self.assertEqual([event["args"]["step"] for event in self.named(*key, name)], list(range(NUM_STEPS)))
                for name in ("forward", "backward", "exposed wait", "optimiser"):
                    self.assertEqual({event["args"]["step"] for event in self.named(*key, name)}, set(range(NUM_STEPS)))
                self.assertEqual([event["args"]["step"] for event in self.named(*key, "validation")], [5, 11])
                self.assertIn(11, [event["args"]["step"] for event in self.named(*key, "checkpoint")])

    def test_spans_nest(self):
        for key in self.events:
            with self.subTest(key=key):
                open_ends = []
                for event in sorted(self.spans(*key), key=lambda event: (event["ts"], -event["dur"])):
                    while open_ends and open_ends[-1] <= event["ts"]:
                        open_ends.pop()
                    # Times are written in whole nanoseconds.
                    self.assertTrue(not open_ends or end(event) <= open_ends[-1] + 0.002, event)
                    open_ends.append(end(event))
        # The parts lie within the step they name.
        for event in self.named("with_leda", 1, "backward"):
            step = self.named("with_leda", 1, "step")[event["args"]["step"]]
            self.assertTrue(step["ts"] <= event["ts"] and end(event) <= end(step))

    def buckets(self, training, rank):
        """step: (index, bytes, begin, end) in the order of the file."""
        ends = {event["id"]: event["ts"] for event in self.events[training, rank] if event["ph"] == "e"}
        found = defaultdict(list)
        for event in self.events[training, rank]:
            if event["ph"] == "b":
                args = event["args"]
                found[args["step"]].append((args["index"], args["bytes"], event["ts"], ends.pop(event["id"])))
        self.assertEqual(ends, {})
        return found

    def test_every_bucket_of_every_step_is_there_on_both_ranks(self):
        for training in TRAININGS:
            both = [self.buckets(training, rank) for rank in (0, 1)]
            for step in range(NUM_STEPS):
                plans = [[bucket[:2] for bucket in found[step]] for found in both]
                self.assertEqual(plans[0], plans[1])
                # From its fifth step on stage 1 trains the discriminator, too.
                num_first = 2 if training == "pretrain" and step >= 4 else 1
                self.assertEqual([index for index, _ in plans[0]].count(0), num_first)
                self.assertGreater(len(plans[0]), 2)
            for found in both:
                self.assertTrue(all(begin < finish for step in found.values() for _, _, begin, finish in step))

    def test_clocks_are_aligned(self):
        for training in TRAININGS:
            clocks = [next(event["args"] for event in self.events[training, rank] if event["name"] == "clock")
                      for rank in (0, 1)]
            self.assertEqual(clocks[0]["offset_to_rank_0_seconds"], 0.0)
            self.assertEqual(clocks[0]["origin_unix_seconds"], clocks[1]["origin_unix_seconds"])
            # Both ranks read one clock here.
            self.assertLessEqual(abs(clocks[1]["offset_to_rank_0_seconds"]), clocks[1]["uncertainty_seconds"] + 1e-9)
            # No sum is complete before the other rank has sent its part.
            slack = clocks[1]["uncertainty_seconds"] * 1e6 + 0.002
            both = [self.buckets(training, rank) for rank in (0, 1)]
            for step in range(NUM_STEPS):
                for mine, other in zip(both[0][step], both[1][step]):
                    self.assertGreater(mine[3] + slack, other[2])
                    self.assertGreater(other[3] + slack, mine[2])

    def share_in_trace(self, training, rank, first, last):
        """Of the steps [first, last): time in waits for other ranks, and for data, as shares."""
        whole = [event for name in ("data wait", "step") for event in self.named(training, rank, name)
                 if first <= event["args"]["step"] < last]
        whole += [event for event in self.named(training, rank, "stop agreement")
                  if first - 1 <= event["args"]["step"] < last - 1]
        waits = [event for name in WAITS for event in self.named(training, rank, name)
                 if any(part["ts"] <= event["ts"] and end(event) <= end(part) for part in whole)]
        seconds = sum(event["dur"] for event in whole)
        data = sum(event["dur"] for event in whole if event["name"] == "data wait")
        return sum(event["dur"] for event in waits) / seconds, data / seconds

    def test_logged_shares_are_those_of_the_traces(self):
        for training in TRAININGS:
            lines = [line for line in log_lines(self.run_folder / training) if "event" not in line][:3]
            self.assertEqual([line["step"] for line in lines], [4, 8, 12])
            for line in lines:
                found = [self.share_in_trace(training, rank, line["step"] - 4, line["step"]) for rank in (0, 1)]
                for name, index in (("exposed_communication_share", 0), ("data_wait_share", 1)):
                    self.assertTrue(0.0 <= line[name] <= 1.0, line)
                    self.assertAlmostEqual(line[name], (found[0][index] + found[1][index]) / 2, delta=0.03)
                self.assertGreater(line["exposed_communication_share"], 0.0)

    def test_shares_are_printed(self):
        self.assertRegex(self.output, r"step 12/12  loss [\d.e+-]+, [\d.]+ images/s, waits: data \d+ %, ranks \d+ %")

    def test_a_resumed_run_writes_beside_the_first_trace(self):
        before = (self.run_folder / "with_leda" / "trace" / "rank_1.json").read_bytes()
        self.assert_ended(run([*self.command_line, "--denoiser.num_steps=14"], ranks=2), 0)
        folder = self.run_folder / "with_leda" / "trace"
        self.assertEqual((folder / "rank_1.json").read_bytes(), before)
        again = json.loads((folder / "rank_1_start_2.json").read_text())
        self.assertEqual([event["args"]["step"] for event in again if event["name"] == "step"], [12, 13])


if __name__ == "__main__":
    unittest.main(verbosity=2)
