"""Kill -9 and power loss at the file calls of a save, and kill -9 at any moment: nothing that was saved may be lost.

A case passes when the same command, started again, goes on from a complete checkpoint, the newest that the run had
announced or a later one, meets no damaged one on its way, and ends with the undisturbed run's bytes.
docs/methods/preemption.md

usage: python kill_campaign.py TABLE.md [--num N] [--seed N] [--only WORD]    exit code 1 if a case did not pass
"""

import argparse
import collections
import contextlib
import dataclasses
import json
import os
import random
import re
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from campaign_page import commit, machine, say  # noqa: E402
from disk_model import STATES, Disk, read_journal, read_tree, write_tree  # noqa: E402
from leda_job import (PROGRAMS, TRAIN, Running, as_arguments, checkpoints, differing_files, final_files,  # noqa: E402
                      kill_all, log_lines)
from power_loss_scan import scan  # noqa: E402
from resume_cases import FOLDERS, OPTIONS, STAGES, STEPS  # noqa: E402

FILE_FAULTS = PROGRAMS.parent / "lib" / "file_faults.so"
AT_ONCE = 2
SHARE_AT_ANY_MOMENT = 0.15
MAX_TRIES = 6  # of a case whose moment did not come: saves are put off to other steps where the machine is busy
# One checkpoint is kept, so that every save ends with removing the one before.
CAMPAIGN_OPTIONS = {"checkpoint.every_num_steps": 2, "checkpoint.keep_last": 1}
SHARDED = {"checkpoint.max_file_bytes": 20000}  # from three ranks on: every rank writes
SETTINGS = tuple((stage, ranks) for stage in ("stage 1", "stage 2") for ranks in (1, 2, 3, 4))
# A cross-section for continuous integration.
QUICK_SETTINGS = (("stage 1", 2), ("stage 2", 1), ("stage 2", 3))
WAYS = ("kill", "power")  # of the process alone, the system keeps its files; or all end, and the disk keeps what it may


@dataclasses.dataclass(frozen=True)
class Point:
    """The number-th of a rank's calls of one kind on one path (as tests/support/file_faults names it)."""
    rank: int
    call: str
    path: str
    number: int

    def kind(self):
        """Alike for the same call in all saves, parts of an archive, and ranks but the first."""
        name = re.sub(r"_tmp-\d+", "_tmp", self.path)
        name = re.sub(r"-\d{5}-of-\d{5}", "-PART", re.sub(r"_rank_\d+_", "_rank_N_", name))
        return self.call, name.split("/", 2)[-1], self.rank > 0


@dataclasses.dataclass(frozen=True)
class Case:
    stage: str
    ranks: int
    point: Point = None  # None: at any moment
    when: str = ""
    way: str = ""
    share_of_run: float = 0.0
    victim: int = 0      # a rank, or -1: all of them and mpirun

    def __str__(self):
        where = f"{self.stage}, {self.ranks} rank{'s' * (self.ranks > 1)}: "
        if self.point is None:
            who = "all ranks and mpirun" if self.victim < 0 else f"rank {self.victim}"
            return where + f"kill -9 of {who} after {self.share_of_run:.0%} of the run's time"
        what = "power loss" if self.way == "power" else "kill -9"
        return where + f"{what} {self.when} {self.point.call} {self.point.number} of rank {self.point.rank} on {self.point.path}"


@dataclasses.dataclass
class Outcome:
    announced: int = 0
    resumed: list = dataclasses.field(default_factory=list)  # once for each disk that a power loss may leave
    wrong: list = dataclasses.field(default_factory=list)
    output: str = ""


def points_of_saves(calls):
    """Of the first two saves of a start, which are there on a busy machine, too."""
    counts = collections.Counter()
    points = []
    for call in calls:
        key = (call.rank, call.name, call.path)
        counts[key] += 1
        save = re.search(r"_tmp-(\d+)", call.path)
        if "/checkpoints" in call.path and counts[key] <= (10 ** 6 if save else 2) and (not save or int(save[1]) <= 2):
            points.append(Point(*key, counts[key]))
    return points


def is_whole(checkpoint):
    """Every file that the manifest lists, in its length; the program itself looks at their checksums."""
    try:
        files = json.loads((checkpoint / "manifest.json").read_text())["files"]
        return all((checkpoint / file["name"]).stat().st_size == file["bytes"] for file in files)
    except (OSError, ValueError):
        return False


class Campaign:
    def __init__(self, folder, settings=SETTINGS):
        self.folder = folder
        self.settings = settings
        self.references = {}  # by setting: (final files, points, seconds, journal)
        options = {**OPTIONS, **CAMPAIGN_OPTIONS, "data.folder": folder / "data"}
        (folder / "tiny.cfg").write_text("".join(f"{name} = {value}\n" for name, value in options.items()))
        self.run("phantoms", self.command("stage 2", 1, folder / "phantoms"), 1)
        for setting in settings:
            self.references[setting] = self.reference(*setting)

    def command(self, stage, ranks, case_folder):
        options = {"run.stages": STAGES[stage], "run.folder": case_folder / "run", **(SHARDED if ranks > 2 else {})}
        return [TRAIN, "--config", str(self.folder / "tiny.cfg"), *as_arguments(options)]

    @staticmethod
    def run(name, command, ranks, codes=(0,), faults=""):
        variables = {"LD_PRELOAD": str(FILE_FAULTS), "LEDA_FILE_FAULTS": faults} if faults else {}
        with Running(command, ranks, 120, variables) as running:
            ended = running.ended()
        if ended.code not in codes:
            raise AssertionError(f"{name}: {ended}")
        return ended

    def reference(self, stage, ranks):
        case_folder = self.folder / f"undisturbed_{stage}_{ranks}".replace(" ", "_")
        case_folder.mkdir()
        journal = Path(f"{case_folder}.journal")
        begun = time.monotonic()
        self.run(f"undisturbed run of {stage} on {ranks}", self.command(stage, ranks, case_folder), ranks,
                 faults=f"folder={case_folder} log={journal}")
        seconds = time.monotonic() - begun
        calls = read_journal(journal)
        if Disk(calls).tree() != read_tree(case_folder):
            raise AssertionError("the journal does not tell of all that was done to the files")
        return final_files(case_folder / "run" / FOLDERS[stage]), points_of_saves(calls), seconds, calls

    def cases(self, num, seed):
        """Every kind of call with every way, as long as there is room; then again, at other calls of the kind."""
        chance = random.Random(seed)
        by_kind = collections.defaultdict(list)
        for setting in self.settings:
            for point in self.references[setting][1]:
                by_kind[point.kind()].append((setting, point))
        pairs = [(kind, way) for kind in by_kind for way in WAYS]
        chance.shuffle(pairs)
        num_any = round(num * SHARE_AT_ANY_MOMENT)
        chosen = []
        for i in range(num - num_any):
            kind, way = pairs[i % len(pairs)]
            (stage, ranks), point = chance.choice(by_kind[kind])
            sides = ("before", "half", "after") if "write" in point.call else ("before", "after")
            chosen.append(Case(stage, ranks, point, chance.choice(sides), way))
        for _ in range(num_any):
            stage, ranks = chance.choice(self.settings)
            chosen.append(Case(stage, ranks, share_of_run=chance.uniform(0.2, 1.0), victim=chance.randrange(-1, ranks)))
        return chosen

    def strike(self, case, case_folder, num_before):
        """Whether it came to that. Of a run that ends before the moment came, the next try is at an earlier one."""
        command = self.command(case.stage, case.ranks, case_folder)
        if case.point is None:
            with Running(command, case.ranks, 120) as running:
                time.sleep(case.share_of_run * 0.7**num_before * self.references[case.stage, case.ranks][2])
                if running.process.poll() is not None:
                    return False
                ranks = running.ranks()
                if case.victim < 0:
                    kill_all(running.process)
                elif case.victim < len(ranks):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(ranks[case.victim], 9)
                return running.ended().code == 137
        point = case.point
        faults = (f"folder={case_folder} log={case_folder}.journal rank={point.rank} call={point.call} "
                  f"path={point.path} number={point.number} when={case.when} kind={case.way}")
        ended = self.run(str(case), command, case.ranks, (0, 137), faults)
        return ended.code == 137 and "file faults: " in ended.errors

    def disks(self, case, case_folder, outcome):
        """The different ones that the case may leave, with their names; each takes the folder's place as it is asked for."""
        if case.way != "power":
            yield ""
            return
        disk = Disk(read_journal(Path(f"{case_folder}.journal")))
        if disk.tree() != read_tree(case_folder):
            outcome.wrong.append("the journal does not tell of all that was done to the files")
        seen = []
        for state in STATES:
            tree = disk.after_power_loss(state)
            if tree not in seen:
                seen.append(tree)
                write_tree(tree, case_folder)
                yield state

    def interrupt(self, numbered):
        number, case = numbered
        outcome = Outcome()
        case_folder = self.folder / f"case_{number}"
        training = case_folder / "run" / FOLDERS[case.stage]
        for tries in range(MAX_TRIES):
            shutil.rmtree(case_folder, ignore_errors=True)
            for left in self.folder.glob(f"case_{number}.journal*"):
                left.unlink()
            case_folder.mkdir()
            if self.strike(case, case_folder, tries):
                break
        else:
            outcome.wrong.append(f"its moment did not come in {MAX_TRIES} runs")
        events = [line["step"] for line in log_lines(training) if line.get("event") == "checkpoint"]
        outcome.announced = max(events, default=0)
        for state in self.disks(case, case_folder, outcome):
            prefix = f"{state}: " if state else ""
            outcome.wrong += [prefix + fault for fault in self.start_again(case, case_folder, outcome)]
        shutil.rmtree(case_folder, ignore_errors=True)
        return outcome

    def start_again(self, case, case_folder, outcome):
        """What is wrong with it."""
        training = case_folder / "run" / FOLDERS[case.stage]
        saved = checkpoints(training)
        wrong = [f"{path.name} is there in part" for path in saved if not is_whole(path)]
        with Running(self.command(case.stage, case.ranks, case_folder), case.ranks, 120) as running:
            ended = running.ended()
        outcome.output += str(ended)
        found = re.search(rf"resumes after step (\d+) of {STEPS}", ended.output)
        is_finished = bool(saved) and saved[-1].name == f"step_{STEPS:08}"
        outcome.resumed.append(int(found[1]) if found else STEPS if is_finished else 0)
        if ended.code != 0:
            wrong.append(f"started again, it ended with {ended.code}")
        if outcome.resumed[-1] < outcome.announced:
            wrong.append(f"step {outcome.announced} had been announced as saved")
        if "damaged" in ended.errors:
            wrong.append("met a damaged checkpoint")
        if different := differing_files(final_files(training), self.references[case.stage, case.ranks][0]):
            wrong.append("differ: " + ", ".join(different))
        if left := [path.name for path in (training / "checkpoints").glob(".*")]:
            wrong.append("left behind: " + ", ".join(left))
        return wrong

    def interrupt_all(self, cases):
        """Yields (case, outcome) in order."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            yield from zip(cases, pool.map(self.interrupt, enumerate(cases)))


def table(rows, planned, scans, kinds, seconds, seed, command):
    failed = [row for row in rows if row[1].wrong]
    names = {"": "kill -9 at any moment", "kill": "kill -9 at a file call", "power": "power loss at a file call"}
    by_way = collections.Counter(names[case.way] for case, _ in rows)
    num_disks = sum(len(outcome.resumed) for case, outcome in rows if case.way == "power")
    lines = [
        "# Kill campaign",
        "",
        f"Made by `{command}`. What is modelled, and what counts as passed: "
        "[methods/preemption.md](../methods/preemption.md).",
        "",
        f"- {len(rows)} of {planned} cases, {len(rows) - len(failed)} passed",
        f"- power loss at every call of the {len(scans)} undisturbed runs, by their journals alone: "
        f"{sum(each.num_disks for each in scans)} disks, {sum(len(each.faults) for each in scans)} faults: a checkpoint in "
        "part, or one lost that had been announced",
        "- " + "; ".join(f"{name}: {count}" for name, count in by_way.items())
        + f", each followed by a start from every different disk that it may leave, {num_disks} in all",
        f"- {kinds} kinds of file calls of a save (call, file, first or other rank); "
        f"in {sum(outcome.announced > 0 for _, outcome in rows)} cases a checkpoint had been announced as saved",
        f"- {STEPS} steps of a tiny training, saved every {CAMPAIGN_OPTIONS['checkpoint.every_num_steps']} steps, one "
        f"checkpoint kept, archives dealt out over the ranks from three ranks on; seed {seed}",
        f"- commit {commit()}; {machine()}, {AT_ONCE} runs at once; "
        f"{seconds / 60:.0f} minutes; {time.strftime('%Y-%m-%d', time.gmtime())}",
        "",
        "\"Saved\" is the newest checkpoint that the run had announced when it was struck (0: none), \"from\" the steps from "
        "which the same command went on, each time to the undisturbed run's bytes.",
        "",
        "| # | stage | ranks | struck | saved | from | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, (case, outcome) in enumerate(rows, 1):
        lines.append(f"| {number} | {case.stage[-1]} | {case.ranks} | {str(case).split(': ', 1)[1]} | "
                     f"{outcome.announced} | {', '.join(map(str, sorted(set(outcome.resumed))))} | "
                     f"{'; '.join(outcome.wrong) or 'passed'} |")
    return "\n".join(lines) + "\n"


def main(arguments):
    parser = argparse.ArgumentParser(prog="launch/campaign kill")
    parser.add_argument("table")
    parser.add_argument("--num", type=int, default=200, help="cases (200)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", metavar="WORD", help="cases whose description contains it")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    rows = []
    command = f"launch/campaign kill --num {options.num} --seed {options.seed}" + (
        f" --only {options.only!r}" if options.only else "")
    with tempfile.TemporaryDirectory(prefix="leda_kill_") as folder:
        campaign = Campaign(Path(folder))
        scans = [scan(calls) for *_, calls in campaign.references.values()]
        for fault in (fault for each in scans for fault in each.faults):
            say(fault)
        cases = [case for case in campaign.cases(options.num, options.seed) if options.only in str(case)]
        kinds = len({case.point.kind() for case in cases if case.point})
        for case, outcome in campaign.interrupt_all(cases):
            rows.append((case, outcome))
            say(f"{len(rows)}/{len(cases)} {case}: saved {outcome.announced}, went on from {outcome.resumed}, "
                f"{'; '.join(outcome.wrong) or 'passed'}")
            if outcome.wrong:
                say(outcome.output)
            Path(options.table).write_text(table(rows, len(cases), scans, kinds, time.monotonic() - started,
                                                 options.seed, command))
    return any(outcome.wrong for _, outcome in rows) or any(each.faults for each in scans)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
