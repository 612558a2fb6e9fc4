"""What a compiler has to be told to read any file of the tree: gathered from a configured build folder."""

import json
import shlex
from pathlib import Path

# Options whose value is the next word.
WITH_VALUE = ("-isystem", "-I", "-D", "-include", "-o", "-c")


class CompileFlags:
    """The union over all files: folders in the order in which they were first named, each macro once.

    Where two commands differ, in the MPI whose headers they see, the first one counts; which file may include what is
    not decided here but in tests/architecture.
    """

    def __init__(self, build_folder):
        entries = json.loads(Path(build_folder, "compile_commands.json").read_text(encoding="utf-8"))
        self.compiler = shlex.split(entries[0]["command"])[0]
        self.reading = []   # standard, macros, folders
        self.warnings = []
        seen = set()
        for entry in entries:
            for words in options(shlex.split(entry["command"])[1:]):
                identity = words[0].split("=")[0] if words[0].startswith("-D") else " ".join(words)
                if identity in seen:
                    continue
                seen.add(identity)
                if words[0].startswith(("-I", "-isystem", "-D", "-std=")):
                    self.reading += words
                elif words[0].startswith("-W") and words[0] != "-Winvalid-pch":
                    self.warnings += words


def options(words):
    """The options of a command, each with its value."""
    words = iter(words)
    for word in words:
        yield [word, next(words)] if word in WITH_VALUE else [word]
