"""Counts what makes code hard to take in: members of classes, arguments of constructors, lines of functions of src/.

usage: python shape.py BUILD_FOLDER    (a configured one; from the repository's folder)

What is above a limit needs a reason, in a comment on the line before the declaration:
    // lint: one table, read from top to bottom
A reason before something that is within the limits is a finding too: it is to go when what it excused has gone.
A struct that has neither a constructor nor private members is a record, and may have any number of fields.
Ends with 1 when something was found.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from clang.cindex import AccessSpecifier, CursorKind
from clang_reader import ClangReader, errors_of

MAX_MEMBERS = 12      # of a class, static ones apart
MAX_ARGUMENTS = 5     # of a constructor
MAX_LINES = 60        # of a function, from its type to its closing brace

NAMESPACES = (CursorKind.NAMESPACE, CursorKind.LINKAGE_SPEC)
CLASSES = (CursorKind.CLASS_DECL, CursorKind.STRUCT_DECL, CursorKind.CLASS_TEMPLATE)
FUNCTIONS = (CursorKind.FUNCTION_DECL, CursorKind.CXX_METHOD, CursorKind.CONSTRUCTOR, CursorKind.DESTRUCTOR,
             CursorKind.CONVERSION_FUNCTION, CursorKind.FUNCTION_TEMPLATE)
BODIES = (CursorKind.COMPOUND_STMT, CursorKind.CXX_TRY_STMT)
REASON = re.compile(r"^\s*// lint: *(.*)$")


@dataclass(frozen=True, order=True)
class Finding:
    path: Path
    line: int
    text: str


class Shapes:
    """What of the counted files is above a limit. Each file is looked at once, however often it is read."""

    def __init__(self):
        self.findings = set()
        self.class_places = set()

    def look_at(self, cursor, paths):
        for child in cursor.get_children():
            path = paths.get(child.location.file.name) if child.location.file else None
            if path is None:
                continue
            if child.kind in NAMESPACES:
                self.look_at(child, paths)
            elif child.kind in CLASSES:
                self.count_class(child, path)
                self.look_at(child, paths)
            elif child.kind in FUNCTIONS:
                self.count_function(child, path)

    def count_class(self, cursor, path):
        self.class_places.add((path, cursor.location.line, cursor.location.column))
        members = list(cursor.get_children())
        num_members = sum(member.kind == CursorKind.FIELD_DECL for member in members)
        if num_members > MAX_MEMBERS and not is_record(cursor, members):
            self.add(cursor, path, f"class {cursor.spelling} has {num_members} members, {MAX_MEMBERS} are the limit")

    def count_function(self, cursor, path):
        parts = list(cursor.get_children())
        num_arguments = sum(part.kind == CursorKind.PARM_DECL for part in parts)
        if num_arguments > MAX_ARGUMENTS and is_constructor(cursor) and cursor.lexical_parent == cursor.semantic_parent:
            self.add(cursor, path, f"the constructor of {cursor.semantic_parent.spelling} has {num_arguments} arguments, "
                                   f"{MAX_ARGUMENTS} are the limit")
        num_lines = cursor.extent.end.line - cursor.extent.start.line + 1
        if num_lines > MAX_LINES and any(part.kind in BODIES for part in parts):
            self.add(cursor, path, f"function {cursor.spelling} has {num_lines} lines, {MAX_LINES} are the limit")

    def add(self, cursor, path, text):
        self.findings.add(Finding(path, cursor.extent.start.line, text))


def is_record(cursor, members):
    is_private = any(member.kind == CursorKind.FIELD_DECL and member.access_specifier == AccessSpecifier.PRIVATE for member in members)
    return not is_private and not any(is_constructor(member) for member in members)


def is_constructor(cursor):
    if cursor.kind == CursorKind.CONSTRUCTOR:
        return True
    return cursor.kind == CursorKind.FUNCTION_TEMPLATE and cursor.spelling.split("<")[0] == cursor.semantic_parent.spelling


def read_all(reader, files):
    """The shapes of all files, read as one, which takes a tenth of the time of one by one.

    The cost is that two files may use one name for two things in their unnamed namespaces. libclang calls that an error
    and counts on, but leaves out what is in the second of two classes: files with such a one are read by themselves.
    """
    shapes = Shapes()
    unit = reader.read("".join(f'#include "{file.resolve()}"\n' for file in files), instantiates=False)
    errors = readable_errors(unit)
    paths = {str(file.resolve()): file for file in files}
    shapes.look_at(unit.cursor, paths)
    places = {(paths.get(error.path), error.line, error.column) for error in errors if "redefinition" in error.text}
    for path in {place[0] for place in places & shapes.class_places}:
        unit = reader.read(f'#include "{path.resolve()}"\n', instantiates=False)
        readable_errors(unit)
        shapes.look_at(unit.cursor, {str(path.resolve()): path})
    return shapes.findings


def readable_errors(unit):
    """The unit's errors, if all of it was read in spite of them."""
    errors = errors_of(unit)
    fatal = next((error for error in errors if error.is_fatal), None)
    if fatal:
        sys.exit(f"{fatal}; nothing after it could be counted")
    return errors


def reasons_in(file):
    """The reason that stands before a line, by the line."""
    reasons = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        stated = REASON.match(line)
        if stated:
            reasons[number + 1] = stated[1].strip()
    return reasons


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: shape.py BUILD_FOLDER")
    files = sorted(path for ending in ("*.hpp", "*.cpp") for path in Path("src").rglob(ending))
    findings = read_all(ClangReader(sys.argv[1]), files)
    excused = {(finding.path, finding.line) for finding in findings}
    shown = []
    num_reasons = 0
    for file in files:
        reasons = reasons_in(file)
        num_reasons += len(reasons)
        shown += [finding for finding in findings if finding.path == file and not reasons.get(finding.line)]
        shown += [Finding(file, line - 1, "a reason for the lint step, but what follows is within the limits")
                  for line in reasons if (file, line) not in excused]
    for finding in sorted(shown):
        print(f"{finding.path}:{finding.line}: {finding.text}")
    print(f"{len(files)} files, {len(shown)} findings, {num_reasons} stated reasons")
    return 1 if shown else 0


if __name__ == "__main__":
    sys.exit(main())
