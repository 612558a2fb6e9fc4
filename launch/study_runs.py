"""Runs of a study, each one leda_dist_train: those that have ended are kept, an interrupted one goes on."""

import json
import os
import subprocess
import time
from datetime import datetime, timezone

from revision import REPOSITORY, commit

DIED = 14  # exit code: a network died or diverged, which is a result


def say(text):
    print(text, flush=True)


def load_conditions(path, only, always):
    """All conditions of a file, or those named in `only` and the one that the others depart from."""
    conditions = json.loads(path.read_text())
    names = [condition["name"] for condition in conditions]
    for name in only or []:
        if name not in names:
            raise SystemExit(f"launch/study: no condition '{name}'; there are: {', '.join(names)}")
    return [condition for condition in conditions if not only or condition["name"] in (always, *only)]


def record_of(folder, command):
    """What a run that has ended left; None where none has, or with other options."""
    try:
        record = json.loads((folder / "study.json").read_text())
    except FileNotFoundError:
        return None
    return record if record["command"] == command else None


def carry_out(folder, command, title, accepted=(0, DIED)):
    """One run, unless it has ended before. Ends the study where a run ends with a code that is not accepted."""
    if record_of(folder, command):
        say(f"kept: {title}")
        return
    say(title)
    folder.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    with open(folder / "output.txt", "w", encoding="utf-8") as output:
        code = subprocess.run(command, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    if code not in accepted:
        raise SystemExit(f"launch/study: this run ended with code {code}; its output is in {folder / 'output.txt'}\n"
                         f"  {' '.join(command)}\n  Call the study again to go on after it.")
    record = {"command": command, "code": code, "seconds": time.monotonic() - begin, "commit": commit(),
              "date": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    unfinished = folder / "study.json.unfinished"
    unfinished.write_text(json.dumps(record, indent=1) + "\n")
    os.replace(unfinished, folder / "study.json")
