"""What tells one model's file from another in the provenance of what is made of it."""

import hashlib
import pathlib


def sha256_of(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
