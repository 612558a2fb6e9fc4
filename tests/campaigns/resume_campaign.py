"""Exact and elastic resume, tried out: trainings that are interrupted everywhere and in every way, and compared.

usage: python resume_campaign.py PAGE.md exact|elastic [WORD]    writes the page; exit code 1 if a run did not pass
       with WORD, only runs whose description contains it
"""

import collections
import dataclasses
import itertools
import json
import re
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from campaign_page import commit, machine, say  # noqa: E402
from leda_job import (INJECTOR, TRAIN, as_arguments, checkpoints, differing_files, final_files,  # noqa: E402
                      log_lines, newest_step, run)
from resume_cases import (FOLDERS, HORIZON_STEPS, HORIZONS, OPTIONS, PLAIN, RANKS, SEED, STAGES, STEPS,  # noqa: E402
                          TIME_LIMIT, Move, all_cases, all_moves)

AT_ONCE = 3  # runs; half of their time they wait for mpirun to end
MAX_STARTS = 100
NUM_SLICES = 12
TOLERANCE = 1e-9
TRAININGS = tuple(FOLDERS.values())
# What the log says of results; the rest of it is time.
LOSSES = ("loss", "l1", "mse", "semantic", "commitment", "generator", "discriminator", "adaptive_weight", "leda_token",
          "leda_feature", "gradient_norm")


@dataclasses.dataclass
class Outcome:
    stopped_after: list  # the newest checkpoint's step at each end before the last; 0 = none
    num_starts: int
    wrong: list
    output: str


@dataclasses.dataclass
class ElasticOutcome:
    stops: list  # (ranks, training, step) at the end of each start
    wrong: list
    output: str
    # The largest difference of losses and of validations, which is bounded, and where; and of gradients' norms.
    difference: float = 0.0
    where: str = ""
    of_norms: float = 0.0


def losses_of(folder):
    """By step and name, validations too. Of a step that was made twice the second counts: weights come from that one."""
    return {(line["step"], name): line[name] for line in log_lines(folder) for name in line
            if (line.get("event") == "validation" and name.startswith("validation_"))
            or ("event" not in line and name in LOSSES)}


def num_skipped(folder):
    by_step = {line["step"]: line.get("skipped_updates", 0) for line in log_lines(folder) if "event" not in line}
    return sum(by_step.values())


class Campaign:
    def __init__(self, folder):
        self.folder = folder
        self.references = {}
        (folder / "tiny.cfg").write_text("".join(
            f"{name} = {value}\n" for name, value in {**OPTIONS, "data.folder": folder / "data"}.items()))
        self.numbers = itertools.count(1)  # of run folders

    def start(self, options, run_folder, ranks, fault="", variables=None):
        variables = dict(variables or {})
        if fault:
            variables.update(LD_PRELOAD=str(INJECTOR), LEDA_FAULT=fault)
        command = [TRAIN, "--config", str(self.folder / "tiny.cfg"),
                   *as_arguments({**options, "run.folder": run_folder})]
        return run(command, ranks=ranks, timeout=600, variables=variables)

    def options(self, stage, variant):
        options = {"run.stages": STAGES[stage], **variant.options}
        if stage == "stage 2 with LEDA":
            options["leda.autoencoder"] = self.autoencoder()
        return options

    def autoencoder(self):
        self.reference("stage 1", PLAIN)
        return self.run_folder("stage 1", PLAIN) / "pretrain" / "autoencoder.safetensors"

    def run_folder(self, stage, variant):
        return self.folder / f"uninterrupted_{stage}_{variant.name}".replace(" ", "_").replace(":", "").replace(",", "")

    def reference(self, stage, variant):
        """What the uninterrupted training ends with."""
        if (stage, variant) not in self.references:
            run_folder = self.run_folder(stage, variant)
            fault = variant.fault() if variant.skipped_at else ""
            ended = self.start(self.options(stage, variant), run_folder, variant.ranks, fault)
            if ended.code != 0:
                raise AssertionError(f"the uninterrupted run of {stage}, {variant.name}: {ended}")
            training = run_folder / FOLDERS[stage]
            if num_skipped(training) != (1 if variant.skipped_at else 0):
                raise AssertionError(f"{num_skipped(training)} updates were skipped in {stage}, {variant.name}")
            self.references[stage, variant] = final_files(training)
        return self.references[stage, variant]

    def interrupt(self, case):
        """Every start of the case, then the plain command until it ends with 0; what became of it."""
        wanted = self.reference(case.stage, case.variant)
        options = self.options(case.stage, case.variant)
        run_folder = self.folder / f"run_{next(self.numbers)}"
        training = run_folder / FOLDERS[case.stage]
        outcome = Outcome([], 0, [], "")
        num_struck = 0

        def live(codes, more, fault=""):
            ended = self.start({**options, **more}, run_folder, case.variant.ranks, fault)
            outcome.num_starts += 1
            outcome.output += f"--- start {outcome.num_starts}: {ended}\n"
            if ended.code not in codes:
                outcome.wrong.append(f"start {outcome.num_starts} ended with {ended.code}")
            if "the execution environment has changed" in ended.errors:
                outcome.wrong.append(f"start {outcome.num_starts} says that something differs")
            step = outcome.stopped_after[-1] if outcome.stopped_after else 0
            if 0 < step < STEPS and f"resumes after step {step} of {STEPS}" not in ended.output:
                outcome.wrong.append(f"start {outcome.num_starts} did not resume after step {step}")
            outcome.stopped_after.append(newest_step(training))
            return ended.code, "fault injector:" in ended.errors

        for start in case.starts:
            _, is_struck = live(start.codes, start.options, start.fault)
            num_struck += is_struck
        wanted_struck = [start for start in case.starts if start.fault]
        expected = len([start for start in wanted_struck if "kind=nan" not in start.fault]) + any(
            "kind=nan" in start.fault for start in wanted_struck)
        if num_struck != expected:
            outcome.wrong.append(f"{num_struck} faults happened, not {expected}")
        code = 85
        for more in case.repeated:
            while code == 85 and outcome.num_starts < MAX_STARTS:
                code, _ = live((85, 0), more)
        live((0,), {})
        outcome.stopped_after.pop()
        if different := differing_files(final_files(training), wanted):
            outcome.wrong.append("differ: " + ", ".join(different))
        if num_skipped(training) != num_skipped(self.run_folder(case.stage, case.variant) / FOLDERS[case.stage]):
            outcome.wrong.append("another number of skipped updates")
        shutil.rmtree(run_folder, ignore_errors=True)
        return outcome

    def interrupt_all(self, cases):
        """Yields (case, outcome) in order."""
        for case in cases:
            self.reference(case.stage, case.variant)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            yield from zip(cases, pool.map(self.interrupt, cases))

    def straight(self, options, ranks):
        """The folder of one uninterrupted run."""
        key = json.dumps([options, ranks], sort_keys=True)
        if key not in self.references:
            run_folder = self.folder / f"straight_{len(self.references)}"
            ended = self.start(options, run_folder, ranks)
            if ended.code != 0:
                raise AssertionError(f"the uninterrupted run: {ended}")
            self.references[key] = run_folder
        return self.references[key]

    def move(self, move):
        """One run, each start on the next number of ranks, until it ends."""
        options = move.all_options()
        straight = self.straight(options, RANKS)
        run_folder = self.folder / re.sub(r"\W+", "_", str(move))
        outcome = ElasticOutcome([], [], "")
        code = 85
        while code == 85 and len(outcome.stops) < MAX_STARTS:
            ranks = move.order[len(outcome.stops) % len(move.order)]
            ended = self.start({**options, **TIME_LIMIT}, run_folder, ranks)
            code = ended.code
            outcome.output += f"--- on {ranks} ranks: {ended}\n"
            training = next((name for name in reversed(TRAININGS) if checkpoints(run_folder / name)), "")
            outcome.stops.append((ranks, training, newest_step(run_folder / training) if training else 0))
            self.check_cursor(run_folder / training, outcome)
        if code != 0:
            outcome.wrong.append(f"ended with {code}")
        for training in TRAININGS:
            if not checkpoints(straight / training):
                continue
            self.compare_losses(training, losses_of(run_folder / training), losses_of(straight / training), move.steps,
                                outcome)
            if move.is_reproducible and (different := differing_files(final_files(run_folder / training),
                                                                      final_files(straight / training))):
                outcome.wrong.append(f"{training}: differ: " + ", ".join(different))
        if outcome.difference > (0.0 if move.is_reproducible else TOLERANCE):
            outcome.wrong.append(f"losses differ by {outcome.difference:.1e}, {outcome.where}")
        if move.is_reproducible and outcome.of_norms:
            outcome.wrong.append(f"norms differ by {outcome.of_norms:.1e}")
        shutil.rmtree(run_folder, ignore_errors=True)
        return outcome

    def move_all(self, moves):
        """Yields (move, outcome) in order."""
        for move in moves:
            self.straight(move.all_options(), RANKS)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            yield from zip(moves, pool.map(self.move, moves))

    def horizon(self, name):
        """By training: the first step whose loss differs by more than the tolerance, or None; the largest difference."""
        options = Move(name, (1, 3), HORIZON_STEPS, HORIZONS[name]).all_options()
        one, three = (self.straight({**options, "training.validate_every_num_steps": HORIZON_STEPS}, ranks)
                      for ranks in (1, 3))
        found = {}
        for training in TRAININGS:
            differences = {step: abs(losses_of(three / training)[step, "loss"] - loss) / abs(loss)
                           for (step, what), loss in losses_of(one / training).items() if what == "loss"}
            beyond = [step for step, difference in differences.items() if difference > TOLERANCE]
            found[training] = (min(beyond, default=None), max(differences.values()))
        return found

    @staticmethod
    def check_cursor(training, outcome):
        """The next batch is that of the step, whatever the number of ranks."""
        if not checkpoints(training):
            return
        state = json.loads((checkpoints(training)[-1] / "state.json").read_text())
        per_epoch = -(-NUM_SLICES // OPTIONS["training.global_batch"])
        if (state["epoch"], state["position_in_epoch"]) != divmod(state["step"], per_epoch):
            outcome.wrong.append(f"step {state['step']} is at {state['position_in_epoch']} of epoch {state['epoch']}")

    @staticmethod
    def compare_losses(training, found, wanted, steps, outcome):
        if found.keys() != wanted.keys() or max(step for step, _ in wanted) != steps:
            outcome.wrong.append(f"{training}: not the same steps in the log")
            return
        for key, value in wanted.items():
            difference = abs(found[key] - value) / max(abs(value), 1e-300) if found[key] != value else 0.0
            if key[1] == "gradient_norm":
                outcome.of_norms = max(outcome.of_norms, difference)
            elif difference > outcome.difference:
                outcome.difference = difference
                outcome.where = f"{key[1]} of step {key[0]}, {training}"


def as_ranges(steps):
    """[1, 2, 3, 5] as 1-3, 5."""
    runs = []
    for step in sorted(set(steps)):
        if runs and step == runs[-1][1] + 1:
            runs[-1][1] = step
        else:
            runs.append([step, step])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs) or "–"


def exact_rows(results):
    rows = collections.OrderedDict()
    for case, outcome in results:
        rows.setdefault((case.stage, case.variant.name, case.way), []).append(outcome)
    for (stage, variant, way), outcomes in rows.items():
        passed = sum(not outcome.wrong for outcome in outcomes)
        steps = [step for outcome in outcomes for step in outcome.stopped_after]
        starts = sum(outcome.num_starts for outcome in outcomes)
        wrong = sorted({text for outcome in outcomes for text in outcome.wrong})
        yield (f"| {stage} | {variant} | {way} | {as_ranges(steps)} | {starts} | {passed} of {len(outcomes)}"
               f"{' – ' + '; '.join(wrong) if wrong else ''} |")


def elastic_row(move, outcome):
    stops = {}
    for ranks, training, step in outcome.stops:
        stops.setdefault(training, []).append(f"{step} ({ranks})")
    said = "; ".join(f"{training}: {', '.join(of_training)}" for training, of_training in stops.items())
    losses = f"{outcome.difference:.1e} ({outcome.where})" if outcome.difference else "0"
    norms = f"{outcome.of_norms:.1e}" if outcome.of_norms else "0"
    return (f"| {move.name}, {move.steps} steps | {'-'.join(map(str, move.order))} | {said} | {losses} | {norms} | "
            f"{'; '.join(outcome.wrong) or 'passed'} |")


def horizon_rows(horizons):
    for name, of_trainings in horizons.items():
        for training, (first, largest) in of_trainings.items():
            yield f"| {name} | {training} | {first or f'none of {HORIZON_STEPS}'} | {largest:.1e} |"


def head_of(title, kind, outcomes, num_starts, head):
    passed = sum(not outcome.wrong for outcome in outcomes)
    return [
        f"# {title}",
        "",
        f"Made by `launch/campaign resume {kind}`. What is promised: [methods/preemption.md](../methods/preemption.md).",
        "",
        f"- {len(outcomes)} of {head['planned']} runs, of {num_starts} starts; {passed} passed",
        f"- commit {head['commit']}; {machine()}; "
        f"{(time.monotonic() - head['started']) / 60:.0f} minutes; {time.strftime('%Y-%m-%d', time.gmtime())}",
        "- 5 of 12 slices a step, learning rate with warm-up and decline, clipping; the discriminator acts from the fifth "
        f"update on; options: `tests/campaigns/resume_cases.py`; seed {SEED}",
    ]


def exact_table(results, head):
    lines = [
        *head_of("Exact resume", "exact", [outcome for _, outcome in results],
                 sum(outcome.num_starts for _, outcome in results), head),
        f"- {STEPS} steps; {AT_ONCE} runs at once",
        "",
        "Passed: manifest, all files that it lists, and the networks handed on equal the uninterrupted run's byte for "
        "byte; every start resumed from the newest checkpoint; no start said that something differs. A signal comes as "
        "rank 0 logs a step, and is followed after the next one; kill -9 comes there, before the step is saved, or some "
        "milliseconds later, within a step. \"Steps\" are those from which a start went on (0: from the beginning).",
        "",
        "| training | variant | interrupted by | steps | starts | equal |",
        "|---|---|---|---|---|---|",
        *exact_rows(results),
    ]
    return "\n".join(lines) + "\n"


def elastic_table(moved, horizons, head):
    lines = [
        *head_of("Elastic resume", "elastic", [outcome for _, outcome in moved],
                 sum(len(outcome.stops) for _, outcome in moved), head),
        "",
        "One run of all trainings in float64 (unless stated), stopped at every step or two, each start on the next number "
        "of ranks; of eight, three have no slice. Compared with an uninterrupted run on two ranks: the cursor after each "
        "start, all losses in the log of every step, the figures of validations (largest relative difference; at most "
        f"{TOLERANCE:g}), and where `distributed.reproducible` is on, all files of the final checkpoints, byte for byte.",
        "",
        "| variant | order of ranks | stopped after steps (ranks) | losses differ by | gradients' norms by | verdict |",
        "|---|---|---|---|---|---|",
        *(elastic_row(*row) for row in moved),
        "",
        "## How far float64 goes",
        "Training amplifies rounding, the faster the larger its steps. One rank against three, neither interrupted, not "
        f"reproducible, {HORIZON_STEPS} steps:",
        "",
        f"| learning rates | training | first step with a loss beyond {TOLERANCE:g} | largest difference |",
        "|---|---|---|---|",
        *horizon_rows(horizons),
    ]
    return "\n".join(lines) + "\n"


def try_exact(campaign, page, word, head):
    """Writes the page after every case; whether any did not pass."""
    cases = [case for case in all_cases() if word in str(case)]
    head["planned"] = len(cases)
    results = []
    for case, outcome in campaign.interrupt_all(cases):
        results.append((case, outcome))
        say(f"{len(results)}/{len(cases)} {case}: went on from {outcome.stopped_after}, "
            f"{'; '.join(outcome.wrong) or 'passed'}")
        if outcome.wrong:
            say(outcome.output)
        page.write_text(exact_table(results, head))
    return any(outcome.wrong for _, outcome in results)


def try_elastic(campaign, page, word, head):
    moves = [move for move in all_moves() if word in str(move)]
    head["planned"] = len(moves)
    horizons = {name: campaign.horizon(name) for name in HORIZONS if word in name}
    moved = []
    for move in moves:
        outcome = campaign.move(move)
        moved.append((move, outcome))
        say(f"{len(moved)}/{len(moves)} {move}: losses differ by {outcome.difference:.1e} {outcome.where}, norms by "
            f"{outcome.of_norms:.1e}, {'; '.join(outcome.wrong) or 'passed'}")
        if outcome.wrong:
            say(outcome.output)
        page.write_text(elastic_table(moved, horizons, head))
    return any(outcome.wrong for _, outcome in moved)


def main(arguments):
    page, kind, word = Path(arguments[0]), arguments[1], arguments[2] if len(arguments) > 2 else ""
    head = {"started": time.monotonic(), "commit": commit()}
    with tempfile.TemporaryDirectory(prefix="leda_resume_") as folder:
        return {"exact": try_exact, "elastic": try_elastic}[kind](Campaign(Path(folder)), page, word, head)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
