"""The account of a run's time, over a kill, a stop and several numbers of ranks, read by a reader of its own.

usage: python ledger_test.py
"""

import json
import re
import signal
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from leda_job import JobTestCase, Running, checkpoints, kill_all, last_step, log_lines, run  # noqa: E402

ACTIVITIES = ("start_up", "data_wait", "step", "exposed_communication", "checkpoint", "validation", "evaluation", "other")
TRAINING = ("data_wait", "step", "exposed_communication")
COLUMNS = ("allocated", "start_up", "data_wait", "step", "exposed_communication", "checkpoint", "validation",
           "evaluation", "lost", "other", "queue", "away")


def ledger_lines(run_folder):
    try:
        text = (run_folder / "ledger.jsonl").read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.split("\n")[:-1]]


def account(lines):
    """docs/formats/ledger.md in Python: for each attempt what its time went into, and the seconds of lost steps."""
    attempts, stretches = [], {}
    for line in lines:
        if line["event"] == "start":
            attempts.append({"ranks": line["ranks"], "begin": line["begin"], "lost": 0.0})
            at = None
        here = attempts[-1]
        here["seconds"], here["elapsed"] = line["seconds"], line["elapsed"]
        trained = sum(line["seconds"][name] for name in TRAINING)
        if line["event"] == "begin_phase":
            kept = []
            for owner, first, last, seconds in stretches.pop(line["phase"], []):
                edge = max(first, min(last, line["step"]))
                owner["lost"] += seconds * (last - edge) / (last - first)
                if edge > first:
                    kept.append((owner, first, edge, seconds * (edge - first) / (last - first)))
            stretches[line["phase"]] = kept
            at = (line["step"], trained)
        elif line["event"] == "step" and line["step"] > at[0]:
            stretches[line["phase"]].append((here, at[0], line["step"], trained - at[1]))
            at = (line["step"], trained)
    return attempts


def reported(output):
    """The rows of the printed table: by attempt, {column: seconds}."""
    rows = {}
    for line in output.splitlines():
        cells = re.fullmatch(r"(\d+|rank-seconds) +(?:\d+  (?:code \d+|killed|no end|error) )? *((?: +-?[\d.]+){12})", line)
        if cells:
            rows[cells[1]] = dict(zip(COLUMNS, map(float, cells[2].split())))
    return rows


class Ledger(JobTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write_phantoms()

    def test_every_second_of_every_start_is_accounted_for(self):
        folder = self.folder / "run"
        command = self.job(run__stages="pretrain,baseline,evaluate", autoencoder__num_steps=40, denoiser__num_steps=12,
                           checkpoint__every_num_steps=10)
        began = time.time()
        with Running(command, ranks=2) as running:
            running.wait_until(lambda: last_step(folder / "pretrain") >= 14 and checkpoints(folder / "pretrain"))
            kill_all(running.process)
            self.assert_ended(running.ended(), 137)
        killed_at = time.time()
        reached = last_step(folder / "pretrain")
        report = run(self.job("--report"))
        self.assert_ended(report, 0)
        self.assertRegex(report.output, r"attempt 1 runs, or was killed: [\d.]+ s of its steps are in no checkpoint")

        with Running(command, ranks=1) as running:
            running.wait_until(lambda: ledger_lines(folder)[-1]["attempt"] == 2
                               and ledger_lines(folder)[-1].get("step", 0) > 22)
            running.process.send_signal(signal.SIGUSR1)
            self.assert_ended(running.ended(), 85)
        self.assert_ended(run(command, ranks=3), 0)
        ended = time.time()

        lines = ledger_lines(folder)
        for line in lines:
            self.assertEqual(set(line["seconds"]), set(ACTIVITIES))
            self.assertAlmostEqual(sum(line["seconds"].values()), line["elapsed"], places=6)
            begin = next(one["begin"] for one in lines if one["attempt"] == line["attempt"])
            self.assertAlmostEqual(begin + line["elapsed"], line["time"], delta=0.5)
        attempts = account(lines)
        self.assertEqual([attempt["ranks"] for attempt in attempts], [2, 1, 3])
        self.assertEqual([line.get("exit_code") for line in lines if line["event"] == "end"], [85, 0])
        # The kill is accounted for up to the last line, which was written in the last logging interval.
        first = attempts[0]
        self.assertGreaterEqual(first["begin"], began - 0.1)
        self.assertLessEqual(first["begin"] + first["elapsed"], killed_at)
        self.assertLessEqual(attempts[2]["begin"] + attempts[2]["elapsed"], ended)
        resumed = [line["step"] for line in lines if line["event"] == "begin_phase" and line["phase"] == "pretrain"][1]
        self.assertGreater(reached, resumed, "the kill came when there was something to lose")
        self.assertGreater(first["lost"], 0.0)
        self.assertEqual(attempts[1]["lost"], 0.0, "a stop by USR1 loses nothing")
        self.assertEqual(attempts[2]["lost"], 0.0)
        for name in ("validation", "checkpoint", "start_up", "step"):
            self.assertGreater(attempts[2]["seconds"][name], 0.0, name)
        self.assertGreater(attempts[2]["seconds"]["evaluation"], 0.0)
        self.assertEqual(attempts[0]["seconds"]["evaluation"], 0.0)

        report = run(self.job("--report"), ranks=2)
        self.assert_ended(report, 0)
        self.assert_report_agrees(report.output, attempts)

    def test_an_automatic_interval_measures_chooses_and_changes_no_result(self):
        folders = {}
        for interval in ("steps", "auto"):
            folders[interval] = self.folder / interval
            command = self.job(run__stages="baseline", run_folder=folders[interval], denoiser__num_steps=24,
                               checkpoint__interval=interval)
            ended = run(command, ranks=2)
            self.assert_ended(ended, 0)
            said = re.search(r"a checkpoint every (\d+) steps; one costs ([\d.e-]+) s of training", ended.output)
            self.assertEqual(said is not None, interval == "auto", ended)
        # One failure a day and a save of a fraction of a second: rarely, once that has been measured.
        saved = {interval: [line["step"] for line in log_lines(folder / "without_leda")
                            if line.get("event") == "checkpoint"] for interval, folder in folders.items()}
        self.assertTrue([step for step in saved["steps"] if step % 6])
        self.assertEqual(saved["auto"][0], 1)
        self.assertEqual([step for step in saved["auto"] if step > 12 and step % 6], [], "but for a new best")
        last = [checkpoints(folder / "without_leda")[-1] for folder in folders.values()]
        names = sorted(path.name for path in last[0].iterdir() if path.name != "provenance.json")
        self.assertEqual(names, ["manifest.json", "networks.safetensors", "optimisers.safetensors", "state.json"])
        for name in names:
            self.assertEqual((last[0] / name).read_bytes(), (last[1] / name).read_bytes(), name)

    def assert_report_agrees(self, output, attempts):
        rows = reported(output)
        self.assertEqual(list(rows), ["1", "2", "3", "rank-seconds"], output)
        in_all, productive = 0.0, 0.0
        for row, attempt in zip(rows.values(), attempts):
            trained = sum(attempt["seconds"][name] for name in TRAINING)
            kept = 1.0 - attempt["lost"] / trained
            expected = {name: seconds * (kept if name in TRAINING else 1.0)
                        for name, seconds in attempt["seconds"].items()}
            expected |= {"allocated": attempt["elapsed"], "lost": attempt["lost"], "queue": 0.0}
            for name, seconds in expected.items():
                self.assertAlmostEqual(row[name], seconds, delta=0.051, msg=name)
            in_all += attempt["ranks"] * attempt["elapsed"]
            productive += attempt["ranks"] * expected["step"]
        self.assertAlmostEqual(rows["rank-seconds"]["allocated"], in_all, delta=0.051)
        goodput = float(re.search(r"goodput: ([\d.]+) % of ([\d.]+) allocated rank-seconds", output)[1])
        self.assertAlmostEqual(goodput, 100.0 * productive / in_all, delta=0.051)
        away = rows["2"]["away"] + rows["3"]["away"]
        self.assertGreater(away, 0.0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
