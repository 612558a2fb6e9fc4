"""Runs of a study, each one leda_dist_train: those that have ended are kept, an interrupted one goes on."""

import argparse
import json
import os
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from support.revision import REPOSITORY, commit

DIED = 14  # exit code: a network died or diverged, which is a result


def say(text):
    print(text, flush=True)


INTERRUPTIONS = (12, 13, 85, 86)  # exit codes after which the same command goes on (docs/exit_codes.md)


def parser_of(study, base, description):
    """The options that all studies have; the caller adds its own, then calls parse."""
    parser = argparse.ArgumentParser(prog=f"launch/study {study}", description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(study=study)
    parser.add_argument("--seeds", type=int, default=3, help="run.seed = 1 to this (default 3)")
    parser.add_argument("--only", nargs="+", metavar="CONDITION",
                        help=f"these conditions, {base}, and those that any of them departs from (default: all)")
    parser.add_argument("--ranks", type=int, default=2, help="MPI ranks of a run (default 2)")
    parser.add_argument("--folder", type=Path, help=f"of the runs (default runs/studies/{study})")
    parser.add_argument("--output", type=Path, help=f"of {study}.md and {study}.json (default docs/results)")
    parser.add_argument("--tiny", action="store_true", help="a few steps on tiny phantoms, to see that everything works; "
                        f"in runs/studies/{study}_tiny, results too")
    return parser


def parse(parser, arguments):
    """Checked, with whole paths of folder and output."""
    parsed = parser.parse_args(arguments)
    if parsed.seeds < 1 or parsed.ranks < 1:
        parser.error("--seeds and --ranks are at least 1")
    if parsed.tiny:  # apart from the real ones
        parsed.folder = parsed.folder or Path(f"runs/studies/{parsed.study}_tiny")
        parsed.output = parsed.output or parsed.folder / "results"
    parsed.folder = (parsed.folder or Path(f"runs/studies/{parsed.study}")).resolve()
    parsed.output = (parsed.output or Path("docs/results")).resolve()
    return parsed


def write_results(study, report, page):
    study.output.mkdir(parents=True, exist_ok=True)
    (study.output / f"{study.study}.json").write_text(json.dumps(report, indent=1) + "\n")
    (study.output / f"{study.study}.md").write_text(page)
    say(f"results: {study.output / study.study}.md")


def head_of_report(study, arguments):
    """What every report says of itself: command, commit, date, ranks, cores, seeds."""
    return {"command": " ".join(["launch/study", study.study, *arguments]), "commit": commit(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"), "ranks": study.ranks,
            "cores": os.cpu_count(), "is_tiny": study.tiny, "seeds": list(range(1, study.seeds + 1))}


def load_conditions(path, only, base):
    """All conditions of a file, or those named in `only`, the base, and those that any of them departs from or needs."""
    conditions = json.loads(path.read_text())
    names = [condition["name"] for condition in conditions]
    for name in only or []:
        if name not in names:
            raise SystemExit(f"launch/study: no condition '{name}'; there are: {', '.join(names)}")
    wanted = {base, *(only or names)}
    for condition in reversed(conditions):  # none needs one that comes later in the file
        if condition["name"] in wanted:
            wanted |= {condition[key] for key in ("against", "autoencoder_of") if key in condition}
    return [condition for condition in conditions if condition["name"] in wanted]


def record_of(folder, command):
    """What a run that has ended left; None where none has, or with other options."""
    try:
        record = json.loads((folder / "study.json").read_text())
    except FileNotFoundError:
        return None
    return record if record["command"] == command else None


def code_of(command, output):
    """Waits for the program, also where Ctrl-C came, which reaches it too: it saves and ends."""
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise SystemExit("launch/study: interrupted; call the study again to go on") from None


def carry_out(folder, command, title, accepted=(0, DIED)):
    """One run, unless it has ended before. Ends the study where a run ends with a code that is not accepted."""
    if record_of(folder, command):
        say(f"kept: {title}")
        return
    say(title)
    folder.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    with open(folder / "output.txt", "w", encoding="utf-8") as output:
        code = code_of(command, output)
    if code not in accepted:
        remedy = ("Call the study again to go on after it." if code in INTERRUPTIONS or code > 128 else
                  f"Calling again would end likewise: look at the output; docs/exit_codes.md says what {code} means.")
        raise SystemExit(f"launch/study: this run ended with code {code}; its output is in {folder / 'output.txt'}\n"
                         f"  {' '.join(command)}\n  {remedy}")
    record = {"command": command, "code": code, "seconds": time.monotonic() - begin, "commit": commit(),
              "date": datetime.now(UTC).isoformat(timespec="seconds")}
    unfinished = folder / "study.json.unfinished"
    unfinished.write_text(json.dumps(record, indent=1) + "\n")
    os.replace(unfinished, folder / "study.json")
