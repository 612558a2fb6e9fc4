"""Injected faults: a tiny job on several ranks, one rank made to fail at a chosen call, and a verdict.

A fault passes when the job ends by itself in time, its exit code is not 0 unless its result is complete and the same
as the undisturbed run's, its output names the rank, and the same command, started again, finishes with that result.
Of a message that is lost or cut short below the program (skip, count) it is enough that some rank is named.
docs/methods/faults.md

usage: python fault_campaign.py TABLE.md [FIRST:LAST]    writes the table; exit code 1 if a fault did not pass
"""

import dataclasses
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from campaign_page import commit, machine, say  # noqa: E402
from leda_job import INJECTOR, PHANTOM_OPTIONS, TINY_OPTIONS, TRAIN, as_arguments, environment, kill_all  # noqa: E402

SEED = 20
TIMEOUT = 4.0        # distributed.timeout_seconds
MAX_SECONDS = 120.0  # then the job is taken for hung
AT_ONCE = 2          # jobs; most of their time they wait for a timeout

@dataclasses.dataclass(frozen=True)
class Stage:
    """Steps are counted from 1."""
    options: dict
    results: tuple     # files that an undisturbed run and a resumed one share to the last byte
    steps: int
    validation: int    # a step with a validation, at which ranks fail
    checkpoint: int    # a step with a checkpoint, the second; ranks fail while it is written
    faulty: int        # the step of all other faults, after the first checkpoint


OPTIONS = {
    **TINY_OPTIONS,
    **PHANTOM_OPTIONS,
    "data.dose_fraction": 0.05,
    "discriminator.start_step": 0,
    "discriminator.norm": "group",
    "distributed.timeout_seconds": TIMEOUT,
    "distributed.first_bucket_bytes": 4096,
}
STAGES = {
    1: Stage({"run.stages": "pretrain", "distributed.bucket_bytes": 1 << 18, "autoencoder.num_steps": 6,
              "training.validate_every_num_steps": 3, "checkpoint.every_num_steps": 2},
             ("pretrain/autoencoder.safetensors",), steps=6, validation=3, checkpoint=4, faulty=4),
    # Long enough that the evaluation finds a living network.
    2: Stage({"run.stages": "baseline,evaluate", "distributed.bucket_bytes": 1 << 16, "denoiser.num_steps": 50,
              "denoiser.channels": 16, "denoiser.learning_rate": 3e-3, "denoiser.beta1": 0.9,
              "training.validate_every_num_steps": 15, "checkpoint.every_num_steps": 10},
             ("without_leda/denoiser.safetensors", "evaluation/evaluation.csv"), steps=50, validation=15,
             checkpoint=20, faulty=14),
}


@dataclasses.dataclass(frozen=True)
class Fault:
    stage: int
    ranks: int
    rank: int
    point: str
    kind: str
    after_ms: int = -1

    def __str__(self):
        return f"stage {self.stage}, {self.ranks} ranks, rank {self.rank}, {self.point}: {self.kind}"


@dataclasses.dataclass
class Outcome:
    code: int
    seconds: float  # from the fault to the end of mpirun
    output: str
    is_hung: bool


# What each kind does, and in how many seconds the job must have ended.
QUICKLY = 12.0
KINDS = {
    "kill": ("kill -9", QUICKLY),
    "stop": ("SIGSTOP", TIMEOUT + 5),
    "segv": ("SIGSEGV", QUICKLY),
    "exit": ("exit(0)", QUICKLY),
    "_exit": ("_exit(3)", QUICKLY),
    "silent": ("sleeps for an hour", TIMEOUT + 5),
    "error": ("the call fails", QUICKLY),
    "throw": ("throws", QUICKLY),
    # Where a lost call shows, and with it the silence, is up to the calls after it.
    "skip": ("leaves the call out", MAX_SECONDS),
    "count": ("sends half the count", MAX_SECONDS),
    "delay": ("comes 1 s late", MAX_SECONDS),
}


def all_faults():
    moment = random.Random(SEED)
    of = lambda stage, ranks, *rows: [Fault(stage, ranks, *row) for row in rows]  # noqa: E731
    return [
        *of(2, 2,
            (1, "MPI_Init", "kill"), (0, "MPI_Init", "_exit"), (0, "MPI_Comm_dup", "kill"),
            (1, "first exchange", "stop"), (0, "first exchange", "stop"), (1, "first exchange", "exit"),
            (1, "data loading", "kill"), (0, "data loading", "error"), (1, "data loading", "silent"),
            (0, "data loading", "stop"),
            *((rank, "computing", kind, moment.randrange(1, 30))
              for rank, kind in ((1, "kill"), (0, "segv"), (1, "stop"), (0, "stop"), (0, "kill"), (1, "segv"))),
            (1, "first bucket", "kill"), (0, "first bucket", "stop"), (1, "first bucket", "throw"),
            (0, "first bucket", "exit"), (1, "first bucket", "skip"), (1, "first bucket", "count"),
            (0, "last bucket", "kill"), (1, "last bucket", "silent"), (1, "last bucket", "error"),
            (0, "last bucket", "skip"),
            (1, "finish", "_exit"), (0, "finish", "kill"), (1, "finish", "stop"), (1, "finish", "delay"),
            (1, "stop agreement", "kill"), (0, "stop agreement", "silent"), (1, "stop agreement", "skip"),
            (1, "validation", "kill"), (0, "validation", "stop"), (1, "validation", "error"),
            (0, "checkpoint write", "kill"), (0, "checkpoint write", "stop"), (0, "checkpoint write", "error"),
            (0, "checkpoint write", "delay"), (0, "checkpoint fsync", "kill"), (0, "checkpoint rename", "kill"),
            (1, "while another rank saves", "stop"), (1, "while another rank saves", "kill"),
            (1, "evaluation", "kill"), (0, "evaluation", "stop"), (1, "evaluation", "silent"),
            (1, "MPI_Finalize", "kill"), (0, "MPI_Finalize", "stop"), (1, "MPI_Finalize", "stop")),
        *of(1, 3,
            (2, "first bucket", "kill"), (0, "last bucket", "stop"), (1, "finish", "silent"),
            (2, "computing", "segv", moment.randrange(1, 60)), (2, "validation", "stop"),
            (0, "checkpoint write", "kill"), (2, "while another rank saves", "stop"), (1, "stop agreement", "exit"),
            (2, "MPI_Finalize", "_exit")),
        *of(1, 4, (3, "first bucket", "stop"), (2, "data loading", "kill"), (0, "finish", "kill")),
    ]


# A cross-section for continuous integration.
QUICK = ((2, 1, "first exchange", "stop"), (2, 0, "data loading", "error"), (2, 1, "computing", "kill"),
         (2, 0, "first bucket", "stop"), (2, 0, "first bucket", "exit"), (2, 0, "checkpoint write", "kill"),
         (2, 0, "evaluation", "stop"), (2, 1, "MPI_Finalize", "stop"))


def quick_faults():
    chosen = []
    for wanted in QUICK:
        chosen.append(next(f for f in all_faults() if (f.stage, f.rank, f.point, f.kind) == wanted))
    return chosen


class Trace:
    """The calls of one rank in an undisturbed run, and where in it a point lies."""

    def __init__(self, path, stage):
        self.stage = stage
        self.calls = [tuple(line.split("\t")) for line in path.read_text().splitlines()]

    def positions(self, name, type="", path=""):
        return [i for i, call in enumerate(self.calls)
                if call[0] == name and (not type or call[1] == type) and path in call[3]]

    def number(self, position, name, type="", path=""):
        return f"call={name} number={sum(i <= position for i in self.positions(name, type, path))}" + (
            f" type={type}" if type else "") + (f" path={path}" if path else "")

    def after(self, position, name, type="", path=""):
        found = next(i for i in self.positions(name, type, path) if i > position)
        return self.number(found, name, type, path)

    def buckets(self):
        """Positions of the buckets of each step: the only sums of float32 in these jobs."""
        sums = self.positions("MPI_Iallreduce", "float")
        per_step, rest = divmod(len(sums), self.stage.steps)
        if per_step < 2 or rest:
            raise AssertionError(f"{len(sums)} sums of float32 in {self.stage.steps} steps: which are whose?")
        return {i + 1: sums[i * per_step:(i + 1) * per_step] for i in range(self.stage.steps)}

    def point(self, name):
        if name in ("MPI_Init", "MPI_Finalize", "MPI_Comm_dup"):
            return f"call={'MPI_Init_thread' if name == 'MPI_Init' else name} number=1"
        if name == "first exchange":
            return "call=MPI_Bcast number=1"
        steps = self.buckets()
        if name == "data loading":
            # Of the last slice: those before it are loaded ahead, and the files are opened once before the first step.
            return self.number(self.positions("pread", path="/train/")[-1], "pread", path="/train/")
        if name == "validation":
            return self.after(steps[self.stage.validation][-1], "pread", path="/validation/")
        if name == "evaluation":
            return self.after(steps[self.stage.steps][-1], "pread", path="/test/")
        own, before = steps[self.stage.faulty], steps[self.stage.faulty - 1]
        if name == "computing":
            # Milliseconds after the last call of the step before: while data, forward or backward are under way.
            return self.number(before[-1], "MPI_Iallreduce", "float")
        if name == "first bucket":
            return self.number(own[0], "MPI_Iallreduce", "float")
        if name == "last bucket":
            return self.number(own[-1], "MPI_Iallreduce", "float")
        if name == "finish":
            return self.after(own[-1], "MPI_Waitall")
        if name == "stop agreement":
            votes = [i for i in self.positions("MPI_Iallreduce", "int64") if i < steps[self.stage.faulty + 1][0]]
            return self.number(votes[-1], "MPI_Iallreduce", "int64")
        if name == "while another rank saves":
            return self.after(steps[self.stage.checkpoint][-1], "MPI_Bcast")
        call = name.removeprefix("checkpoint ")
        of_this_save = [i for i in self.positions(call, path="/checkpoints/") if i > steps[self.stage.checkpoint][-1]]
        return self.number(of_this_save[0], call, path="/checkpoints/")


class Campaign:
    def __init__(self, folder):
        self.folder = folder
        self.references = {}  # (stage, ranks): files of the undisturbed run, and its traces
        (folder / "tiny.cfg").write_text("".join(
            f"{name} = {value}\n" for name, value in {**OPTIONS, "data.folder": folder / "data"}.items()))

    def command(self, stage, ranks, run_folder):
        return ["mpirun", "-np", str(ranks), TRAIN, "--config", str(self.folder / "tiny.cfg"),
                *as_arguments({**STAGES[stage].options, "run.folder": run_folder})]

    def run(self, command, **variables):
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   env=environment(**variables), text=True, errors="replace")
        lines = []
        struck = []

        def read():
            for line in process.stdout:
                if line.startswith("fault injector:") and not struck:
                    struck.append(time.monotonic())
                lines.append(line)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        is_hung = False
        try:
            process.wait(MAX_SECONDS)
        except subprocess.TimeoutExpired:
            is_hung = True
            kill_all(process)
            process.wait()
        ended = time.monotonic()
        reader.join(timeout=10)
        if not reader.is_alive():
            process.stdout.close()
        code = process.returncode if process.returncode >= 0 else 128 - process.returncode
        return Outcome(code, ended - struck[0] if struck else -1.0, "".join(lines), is_hung)

    def result(self, stage, run_folder):
        """The files that count, or nothing where one is missing."""
        paths = [run_folder / name for name in STAGES[stage].results]
        return [path.read_bytes() for path in paths] if all(path.exists() for path in paths) else None

    def reference(self, stage, ranks):
        if (stage, ranks) not in self.references:
            run_folder = self.folder / f"reference_{stage}_{ranks}"
            # Phantoms are written by the first run of all; the traced one then makes the calls of those that follow.
            for name in ("first", "traced"):
                shutil.rmtree(run_folder, ignore_errors=True)
                trace = self.folder / f"trace_{name}_{stage}_{ranks}"
                if name == "first" and self.references:
                    continue
                outcome = self.run(self.command(stage, ranks, run_folder), LD_PRELOAD=str(INJECTOR),
                                   LEDA_FAULT_TRACE=str(trace))
                if outcome.code != 0:
                    raise AssertionError(f"the undisturbed run ended with {outcome.code}\n{outcome.output}")
            self.references[stage, ranks] = (self.result(stage, run_folder),
                                             [Trace(Path(f"{trace}.{rank}"), STAGES[stage]) for rank in range(ranks)])
        return self.references[stage, ranks]

    def inject(self, fault):
        """The outcome, and what is wrong with it (an empty list where the fault passes)."""
        result, traces = self.reference(fault.stage, fault.ranks)
        where = traces[fault.rank].point(fault.point)
        words = f"rank={fault.rank} {where} kind={fault.kind}"
        if fault.after_ms >= 0:
            words += f" after_ms={fault.after_ms}"
        run_folder = self.folder / re.sub(r"\W+", "_", str(fault))
        shutil.rmtree(run_folder, ignore_errors=True)
        command = self.command(fault.stage, fault.ranks, run_folder)
        outcome = self.run(command, LD_PRELOAD=str(INJECTOR), LEDA_FAULT=words)
        faults = []
        if outcome.seconds < 0:
            faults.append("the fault did not happen")
        if outcome.is_hung:
            faults.append("hung")
        elif outcome.seconds > KINDS[fault.kind][1]:
            faults.append(f"took {outcome.seconds:.1f} s, more than {KINDS[fault.kind][1]:.0f} s")
        is_complete = self.result(fault.stage, run_folder) == result
        if outcome.code == 0 and not is_complete:
            faults.append("silent success: exit code 0 without the undisturbed run's result")
        named = named_ranks(outcome.output)
        is_named = bool(named) if fault.kind in ("skip", "count") else fault.rank in named
        if outcome.code != 0 and not is_named:
            faults.append("rank not named")
        again = self.run(command)
        if again.code != 0 or self.result(fault.stage, run_folder) != result:
            faults.append(f"started again, it ended with {again.code}" + ("" if again.code else " and another result"))
            outcome.output += "\n--- started again\n" + again.output
        shutil.rmtree(run_folder, ignore_errors=True)
        return outcome, faults

    def inject_all(self, faults):
        """Yields (fault, outcome, what is wrong) in order."""
        for fault in faults:
            self.reference(fault.stage, fault.ranks)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for fault, (outcome, wrong) in zip(faults, pool.map(self.inject, faults)):
                yield fault, outcome, wrong


def named_ranks(output):
    """Ranks that messages blame: not those that report, wait, or are only counted."""
    blamed = set()
    if "leda_dist_train: error" not in output:
        # The launcher's own word on a process that just left: [[job],rank].
        blamed.update(map(int, re.findall(r"Process name: \[\[\d+,\d+\],(\d+)\]", output)))
    is_error = False
    for line in output.splitlines():
        # Progress lines and the warnings of a start speak of ranks, too.
        is_error = is_error or re.search(r"\berror(:| on rank |, found by rank )", line) is not None
        is_blame = is_error or "mpirun noticed that process rank" in line
        if not is_blame or "MPI_ABORT was invoked" in line or "on rank 0 of" in line or "waits: data" in line:
            continue
        blame = re.sub(r"found by rank \d+", "", line).split("waiting for it:")[0]
        for numbers in re.findall(r"\branks? ((?:\d+(?:, | and )?)+)", blame):
            blamed.update(map(int, re.findall(r"\d+", numbers)))
    return blamed


def table(rows, seconds):
    hung = sum(outcome.is_hung for _, outcome, _ in rows)
    silent = sum(any("silent success" in fault for fault in faults) for _, _, faults in rows)
    failed = [row for row in rows if row[2]]
    slowest = max(outcome.seconds for _, outcome, _ in rows)
    lines = [
        "# Injected faults",
        "",
        "Made by `launch/campaign faults`. What counts as passed, and how a wrong rank is found: "
        "[methods/faults.md](../methods/faults.md).",
        "",
        f"- {len(rows)} faults, {len(rows) - len(failed)} passed; hung: {hung}; silent successes: {silent}; "
        f"slowest end {slowest:.1f} s after the fault",
        f"- distributed.timeout_seconds = {TIMEOUT:g}, one thread a rank; "
        + "; ".join(f"stage {n}: {s.steps} steps, faults of a step in step {s.faulty}, of a checkpoint at {s.checkpoint}"
                    for n, s in STAGES.items()) + f"; seed {SEED}",
        f"- commit {commit()}; {machine()}, {AT_ONCE} jobs at once; "
        f"{seconds / 60:.0f} minutes; "
        f"{time.strftime('%Y-%m-%d', time.gmtime())}",
        "",
        "Seconds are from the fault to the end of mpirun. Exit codes are mpirun's. \"Named\" are the ranks that the "
        "output blames; calls left out or cut short, below the program, need only be blamed on some rank. After each "
        "fault the same command was started again; \"same\" means that it finished with the undisturbed run's "
        "networks (and figures, stage 2) to the last bit.",
        "",
        "| # | stage | ranks | rank | where | what | seconds | exit code | named | started again | verdict |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for number, (fault, outcome, faults) in enumerate(rows, 1):
        named = ", ".join(map(str, sorted(named_ranks(outcome.output.split("--- started again")[0])))) or "–"
        again = next((text for text in faults if text.startswith("started again")), "same")
        late = f" ({fault.after_ms} ms after the step before)" if fault.after_ms >= 0 else ""
        lines.append(f"| {number} | {fault.stage} | {fault.ranks} | {fault.rank} | {fault.point}{late} | "
                     f"{KINDS[fault.kind][0]} | {outcome.seconds:.1f} | {outcome.code} | {named} | {again} | "
                     f"{'; '.join(faults) or 'passed'} |")
    return "\n".join(lines) + "\n"


def main(arguments):
    faults = all_faults()
    if len(arguments) > 1:
        first, last = arguments[1].split(":")
        faults = faults[int(first or 0):int(last) if last else None]
    rows = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="leda_faults_") as folder:
        campaign = Campaign(Path(folder))
        for fault, outcome, wrong in campaign.inject_all(faults):
            rows.append((fault, outcome, wrong))
            say(f"{len(rows)}/{len(faults)} {fault}: exit code {outcome.code} after {outcome.seconds:.1f} s, "
                f"{'; '.join(wrong) or 'passed'}")
            if wrong:
                say(outcome.output)
    Path(arguments[0]).write_text(table(rows, time.monotonic() - started))
    return any(wrong for _, _, wrong in rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
