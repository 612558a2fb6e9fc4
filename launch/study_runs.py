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
