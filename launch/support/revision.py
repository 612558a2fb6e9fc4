"""Which revision of the project a result was made with."""

import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def commit():
    """Short, with -dirty where files differ from it; "unknown" where there is no git or no repository."""
    if shutil.which("git") is None:
        return "unknown"
    described = subprocess.run(["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=12"],
                               capture_output=True, text=True, check=False)
    return described.stdout.strip() or "unknown"
