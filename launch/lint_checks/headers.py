"""Reads each header of src/ and tests/ alone, as a compiler would: what it names, it must include.

usage: python headers.py BUILD_FOLDER    (a configured one; from the repository's folder)

A header that compiles alone passes, also where a name comes to it through a header that it includes. Two things make it
quick, and neither hides a missing include:
- A header that another one includes is read before it in the same file: the other one sees nothing there that its own
  #include would not have brought.
- What takes long to read (BUNDLES) is precompiled for the headers whose #include lines lead to all of it, and for no
  others.
Both go by the #include lines alone, without looking at conditions around them; the headers of this project have none.
Ends with 1 when a header does not compile.
"""

import os
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clang_reader import ClangReader, errors_of

TENSOR = "<ATen/core/Tensor.h>"
# Read at once from a precompiled copy; of several that a header leads to, the first.
BUNDLES = ((TENSOR, "<filesystem>"), (TENSOR,), ("<string>",))
INCLUDE = re.compile(r'^\s*#\s*include\s*(<[^>]+>|"[^"]+")', re.MULTILINE)
MAX_ERRORS_SHOWN = 4


class IncludeGraph:
    """What the #include lines of the headers lead to: other headers, as paths, and those of libraries, as <name>."""

    def __init__(self, headers):
        self.included = {header: set(self.targets(header)) for header in headers}
        self.reached = {}
        for header in headers:
            self.reach(header)

    @staticmethod
    def targets(header):
        for name in INCLUDE.findall(header.read_text(encoding="utf-8")):
            if name.startswith("<"):
                yield name
            else:
                places = (Path("src", name[1:-1]), Path(name[1:-1]), header.parent / name[1:-1])
                yield next((place for place in places if place.exists()), name)

    def bundle_of(self, header):
        return next((bundle for bundle in BUNDLES if self.reached[header].issuperset(bundle)), ())

    def reach(self, header):
        if header not in self.reached:
            self.reached[header] = set()  # also ends a circle
            for target in self.included[header]:
                self.reached[header].add(target)
                if target in self.included:
                    self.reached[header] |= self.reach(target)
        return self.reached[header]


def chains_of(headers, graph):
    """The headers in rows, each included by the next, and all or none of a row leading to TENSOR."""
    chains = []
    for header in sorted(headers, key=lambda header: (len(graph.reached[header]), header)):
        for chain in chains:
            if chain[-1] in graph.reached[header] and (TENSOR in graph.reached[chain[0]]) == (TENSOR in graph.reached[header]):
                chain.append(header)
                break
        else:
            chains.append([header])
    return chains


def text_of(headers):
    return "".join(f'#include "{header.resolve()}"\n' for header in headers)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: headers.py BUILD_FOLDER")
    headers = sorted(path for folder in ("src", "tests") for path in Path(folder).rglob("*.hpp"))
    graph = IncludeGraph(headers)
    chains = chains_of(headers, graph)
    reader = ClangReader(sys.argv[1])
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        copies = {bundle: Path(folder, f"bundle_{number}.pch") for number, bundle in enumerate(BUNDLES)}

        def precompile(bundle):
            reader.precompile("".join(f"#include {name}\n" for name in bundle), copies[bundle])

        def errors_in(row):
            unit = reader.read(text_of(row), copies.get(graph.bundle_of(row[0])))
            return [str(error).removeprefix(f"{Path.cwd()}/") for error in errors_of(unit)]

        list(pool.map(precompile, {graph.bundle_of(chain[0]) for chain in chains} & set(BUNDLES)))
        # Which header of a row it is, is asked only where the row fails.
        suspects = [header for chain, errors in zip(chains, pool.map(errors_in, chains)) if errors for header in chain]
        faults = {header: errors for header, errors in zip(suspects, pool.map(errors_in, [[header] for header in suspects])) if errors}
    for header, errors in sorted(faults.items()):
        print(f"{header} does not compile alone:")
        print("\n".join(f"    {error}" for error in errors[:MAX_ERRORS_SHOWN]))
        if len(errors) > MAX_ERRORS_SHOWN:
            print(f"    ... and {len(errors) - MAX_ERRORS_SHOWN} errors more")
    print(f"{len(headers)} headers in {len(chains)} files, {len(faults)} that do not compile alone")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
