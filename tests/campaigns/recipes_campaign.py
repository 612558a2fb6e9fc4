"""Follows the recipes of docs/developing.md in a copy of the tree, builds it, runs the new tests, trains with what they add,
and looks for it in what the training prints and writes.

usage: python recipes_campaign.py PAGE
"""

import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from campaign_page import REPOSITORY, commit, machine, say
from recipes import RECIPES

COPY = REPOSITORY / "build" / "recipes"
TARGETS = ("programs", "models_test", "losses_test", "evaluation_test", "architecture_test")
# The new tests, and those that look at every entry of a list.
TESTS = (("models_test", "ToyResidual*"), ("losses_test", "ToyGradientLoss*:PixelLoss*"),
         ("evaluation_test", "*"), ("architecture_test", "*"))
JOB = ("--config", "configs/denoisers/toy_residual.cfg", "--denoiser.losses=mse,toy_gradient:0.1")


def run(*command, log):
    with open(log, "ab") as output:
        ended = subprocess.run(command, cwd=COPY, stdout=output, stderr=subprocess.STDOUT)
    if ended.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {ended.returncode}; see {log}")


def copy_tree():
    """What git has or would take in, as it lies there; a build of an earlier call stays and is brought up to date."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=REPOSITORY,
                            capture_output=True, check=True).stdout.decode().split("\0")
    kept = {COPY / "build", COPY / ".deps"}
    COPY.mkdir(parents=True, exist_ok=True)
    for entry in COPY.iterdir():
        if entry in kept:
            continue
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for name in filter(None, listed):
        if not (REPOSITORY / name).is_file():
            continue
        (COPY / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, COPY / name)
    if not (COPY / ".deps").exists():
        (COPY / ".deps").symlink_to(REPOSITORY / ".deps")


def found_in_results(run_folder):
    """Where the three were seen: what, and the text that shows it. Ends the program where one was not."""
    log = [json.loads(line) for line in (run_folder / "with_leda" / "log.jsonl").read_text().splitlines()]
    losses = [line for line in log if "toy_gradient" in line]
    options = (run_folder / "options.cfg").read_text()
    evaluation = run_folder / "evaluation"
    table = (evaluation / "evaluation.txt").read_text()
    figures = json.loads((evaluation / "evaluation.json").read_text())
    with open(evaluation / "evaluation.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    seen = [("denoiser.type of the run", "denoiser.type = toy_residual", "denoiser.type = toy_residual" in options),
            ("the loss in log.jsonl, first and last", f"{losses[0]['toy_gradient']:.3g}, {losses[-1]['toy_gradient']:.3g}"
             if losses else "", bool(losses)),
            ("the figure in the table", "largest (HU)", "largest (HU)" in table),
            ("the figure in JSON, of the denoiser",
             f"{figures['methods'][-1]['against'][0]['largest_error_hu']['mean']:.1f} HU", True),
            ("the figure in CSV, of the denoiser", f"{float(rows[-1]['largest_error_hu']):.1f} HU", True)]
    missing = [what for what, _, is_there in seen if not is_there]
    if missing:
        sys.exit(f"not found: {', '.join(missing)}; see {run_folder}")
    return [(what, text) for what, text, _ in seen], table


def page(seen, table, seconds):
    lines = ["# The recipes, followed", "",
             "`launch/campaign recipes` adds a denoiser, a loss term and a figure to a copy of the tree by the recipes of",
             "[developing](../developing.md), builds it, runs their tests and those of the lists, and trains both stages with all",
             f"three. Commit {commit()}; {machine()}; {seconds:.0f} s, most of them compiling.", "",
             "| recipe | new files | lines in files that were there |", "|---|---|---|"]
    for recipe in RECIPES:
        new = ", ".join(f"`{path}`" for path in recipe.new_files)
        changed = ", ".join(f"`{name}`: {sum(line.file == name for line in recipe.lines)}"
                            for name in dict.fromkeys(line.file for line in recipe.lines))
        lines.append(f"| {recipe.name} | {new} | {changed} |")
    lines += ["", "Two lines in a list are the entry and its `#include`. What the training wrote:", "", "| | |", "|---|---|"]
    lines += [f"| {what} | {text} |" for what, text in seen]
    return "\n".join([*lines, "", "```", table.rstrip(), "```", ""])


def main():
    target = Path(sys.argv[1]).resolve()
    begin = time.monotonic()
    copy_tree()
    for recipe in RECIPES:
        recipe.apply(COPY)
        say(f"{recipe.name}: {len(recipe.new_files)} files, {len(recipe.lines)} lines")
    log = COPY / "build" / "recipes.log"
    log.parent.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    say(f"building in {COPY}; {log} says more")
    for name in TARGETS:
        if not (COPY / "build" / "build.ninja").exists():
            run("launch/build", "programs", log=log)
        run("cmake", "--build", "build", "--parallel", "--target", name, log=log)
    for name, tests in TESTS:
        run(f"build/bin/{name}", f"--gtest_filter={tests}", log=log)
    say("training")
    run_folder = COPY / "runs" / "toy_residual"
    run("bash", "-c", 'source launch/environment && exec mpirun -np 2 leda_dist_train "$@"', "bash", *JOB, log=log)
    seen, table = found_in_results(run_folder)
    target.write_text(page(seen, table, time.monotonic() - begin))
    say(f"{table}\n{target}")


if __name__ == "__main__":
    main()
