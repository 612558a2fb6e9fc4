"""Reads C++ with libclang, which parses faster than a compiler compiles and says what it found where."""

import subprocess
from dataclasses import dataclass

from clang.cindex import Diagnostic, Index, TranslationUnit
from compile_flags import CompileFlags


class ClangReader:
    """Reads with the options of a configured build folder. Any number of threads at a time."""

    def __init__(self, build_folder):
        flags = CompileFlags(build_folder)
        # libclang comes without the few headers that belong to a compiler, such as stddef.h; the compiler has them.
        own_headers = subprocess.run([flags.compiler, "-print-file-name=include"], check=True, capture_output=True, text=True)
        self.options = [*flags.reading, "-idirafter", own_headers.stdout.strip(), "-ferror-limit=0", "-w"]

    def read(self, text, precompiled=None, instantiates=True):
        """The translation unit of a file of this text; without the bodies of templates that it uses, where not asked for."""
        options = ["-include-pch", str(precompiled)] if precompiled else []
        mode = TranslationUnit.PARSE_NONE if instantiates else TranslationUnit.PARSE_INCOMPLETE
        return Index.create().parse("lint.cpp", [*self.options, *options], [("lint.cpp", text)], mode)

    def precompile(self, text, target):
        """Writes a precompiled copy of a file of this text, its templates instantiated as far as it needs them itself."""
        options = [*self.options, "-x", "c++-header", "-fpch-instantiate-templates"]
        unit = Index.create().parse("lint.hpp", options, [("lint.hpp", text)], TranslationUnit.PARSE_INCOMPLETE)
        unit.save(str(target))


@dataclass(frozen=True)
class Error:
    path: str     # as the compiler names the file; empty where it names none
    line: int
    column: int
    text: str
    is_fatal: bool  # nothing after it was read

    def __str__(self):
        return f"{self.path}:{self.line}: {self.text}" if self.path else self.text


def errors_of(unit):
    """What was found, in values of its own: libclang's belong to the unit and end with it."""
    errors = []
    for found in unit.diagnostics:
        if found.severity >= Diagnostic.Error:
            place = found.location
            path = place.file.name if place.file else ""
            errors.append(Error(path, place.line, place.column, found.spelling, found.severity == Diagnostic.Fatal))
    return errors
