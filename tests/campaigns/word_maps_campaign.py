"""What the words of an autoencoder's tokens are worth: stage 1 of configs/word_maps.cfg, and its score on test phantoms.

usage: python word_maps_campaign.py PAGE.md [--seeds N] [--OPTION=VALUE...]

Trains with seed 1, 2, ... (--seeds, 1) and writes the page: of the test slices' tokens whose cell shows one tissue, the
share that are words of it, tissue by tissue and balanced over tissues; beside it the same of the untrained encoder and
of the trained one read in shuffled vocabularies. Exit code 1 if the balanced share of the last level is below 80 % with
any seed, or if a tissue of the phantoms has fewer than 50 such cells. Options are handed to leda_dist_train.
"""

import argparse
import json
import shlex
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from campaign_page import commit, machine, say  # noqa: E402
from leda_job import REPOSITORY, TRAIN, run  # noqa: E402

CONFIG = "configs/word_maps.cfg"
WANTED = 0.8
RANKS = 2
LEVEL = -1  # the last
TIMEOUT_SECONDS = 3600


def train(folder, seed, options):
    """word_maps.json of one training, and how many seconds it took."""
    run_folder = folder / f"seed_{seed}"
    command = [TRAIN, "--config", str(REPOSITORY / CONFIG), f"--run.folder={run_folder}",
               f"--data.folder={folder / 'data'}", f"--run.seed={seed}", *options]
    started = time.monotonic()
    ended = run(command, RANKS, TIMEOUT_SECONDS, cwd=REPOSITORY)
    if ended.code != 0:
        raise SystemExit(f"the training ended with {ended}")
    return json.loads((run_folder / "pretrain" / "word_maps.json").read_text()), time.monotonic() - started


def named_tissues(report):
    """The tissues that any cell of the last level shows alone."""
    return [name for name, count in report["rows"][0]["levels"][LEVEL]["tissues"].items() if count["cells"]]


def share(count):
    return f"{count['matches'] / count['cells']:.3f}"


def table(report):
    tissues = named_tissues(report)
    cells = report["rows"][0]["levels"][LEVEL]["tissues"]
    lines = [f"| | balanced | {' | '.join(tissues)} |", "|---|" + "---|" * (len(tissues) + 1),
             f"| cells | | {' | '.join(str(cells[name]['cells']) for name in tissues)} |"]
    for row in report["rows"]:
        level = row["levels"][LEVEL]
        lines.append(f"| {row['name']} | **{level['balanced_match']:.3f}** | "
                     + " | ".join(share(level["tissues"][name]) for name in tissues) + " |")
    return lines


def faults(report, seed):
    """What is not as it must be, in words."""
    found = [f"seed {seed}: only {count['cells']} cells show {name} alone, {report['min_cells']} are needed"
             for name, count in report["rows"][0]["levels"][LEVEL]["tissues"].items()
             if 0 < count["cells"] < report["min_cells"]]
    match = report["rows"][0]["levels"][LEVEL]["balanced_match"]
    if match < WANTED:
        found.append(f"seed {seed}: the balanced share is {match:.3f}, {WANTED} is wanted")
    return found


def page(reports, seconds, command, options):
    first = next(iter(reports.values()))
    lines = [
        "# Word maps, held against known tissue", "",
        f"Made by `{command}` at commit {commit()}; {machine()}. Settings: `{CONFIG}`"
        + (f", {', '.join(f'`{option}`' for option in options)}" if options else "") + ".", "",
        "Stage 1 alone, candidates by position, on phantoms; the figures are those of test phantoms that training has not"
        " seen; that so many steps are enough was seen on them. A cell is what one token of the last level stands for. Counted are cells"
        f" of which one tissue has at least {first['pure_share']:.0%} of the pixels. A token is right if its word is a term"
        f" of that tissue. Balanced: the mean over tissues with at least {first['min_cells']} such cells, air left out:"
        " but for a few cells of bowel gas it lies outside the body.", "",
        "Controls: the same network before training; the trained tokens read in a vocabulary whose rows are shuffled; and"
        " in one where only the terms of the tissues have changed places among each other.", ""]
    for seed, report in reports.items():
        lines += [f"## Seed {seed}, {seconds[seed]:.0f} s", "", *table(report), ""]
    wrong = [fault for seed, report in reports.items() for fault in faults(report, seed)]
    verdict = "missed: " + "; ".join(wrong) if wrong else f"met: at least {WANTED:.0%} with every seed"
    lines += [f"**{WANTED:.0%} wanted: {verdict}.**", "",
              "Tissues are HU ranges of phantoms with sharp labels (docs/methods/candidate_words.md): this says that tokens"
              " name what they were drawn to, on images of the same kind. It is no measure of diagnosis.", ""]
    return "\n".join(lines), wrong


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    known, options = parser.parse_known_args(arguments)
    reports, seconds = {}, {}
    with tempfile.TemporaryDirectory(prefix="leda_word_maps_") as folder:
        for seed in range(1, known.seeds + 1):
            reports[seed], seconds[seed] = train(Path(folder), seed, options)
            match = reports[seed]["rows"][0]["levels"][LEVEL]["balanced_match"]
            say(f"seed {seed}: {match:.3f} in {seconds[seed]:.0f} s")
    command = shlex.join(["launch/campaign", "word_maps", *arguments[1:]])
    text, wrong = page(reports, seconds, command, options)
    known.page.write_text(text)
    say(text)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
