"""What the pages of all campaigns say of themselves: the commit, and the machine they were made on."""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "launch"))

from support.revision import REPOSITORY, commit  # noqa: E402, F401 (the commit is part of what a page says)


def say(text):
    print(text, flush=True)


def output_of(*command):
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY).stdout.strip()


def mpirun_version():
    return output_of("mpirun", "--version").splitlines()[0]


def machine():
    return f"{mpirun_version()}; {os.cpu_count()} cores"
