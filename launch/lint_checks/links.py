"""Finds dead links in the Markdown files of this repository: to files, folders and headings that are not there.

usage: python links.py    (from the repository's folder)

Inline links and images, and definitions of references. Links to other sites are not followed. What lies in a folder
that git ignores (.deps/, build/, runs/, data/) is not there for a reader of the repository, so a link to it is dead.
Ends with 1 when a link is dead.
"""

import os
import re
import sys
from pathlib import Path
from urllib.parse import unquote

IGNORED_FOLDERS = (".git", ".deps", "build", "runs", "data")

FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
CODE_SPAN = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
INLINE_LINK = re.compile(r"\]\(\s*(?:<([^>]*)>|([^()\s]*(?:\([^()\s]*\)[^()\s]*)*))(?:\s+[\"'(][^)]*)?\s*\)")
DEFINITION = re.compile(r"^ {0,3}\[[^\]^][^\]]*\]:\s*<?([^\s>]+)")
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$")
OTHER_SITE = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*:|//)")


def markdown_files():
    for folder, subfolders, names in os.walk("."):
        if folder == ".":
            subfolders[:] = [name for name in subfolders if name not in IGNORED_FOLDERS]
        subfolders.sort()
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(".md"))


def lines_outside_code(text):
    """Number and text of each line that is not in a fenced block of code."""
    fence = None
    for number, line in enumerate(text.splitlines(), start=1):
        mark = FENCE.match(line)
        if fence is None and mark:
            fence = mark[1]
        elif fence is None:
            yield number, line
        elif mark and mark[1].startswith(fence) and line.strip() == mark[1]:
            fence = None


def anchor_of(heading):
    """The anchor that GitHub gives a heading: lower case, without punctuation, dashes for spaces."""
    shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)  # of a link, its text
    return re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")


def anchors_of(path):
    """All anchors of a Markdown file; a heading that comes again gets a number."""
    anchors = set()
    counts = {}
    text = path.read_text(encoding="utf-8")
    for _, line in lines_outside_code(text):
        heading = HEADING.match(line)
        if not heading:
            continue
        anchor = anchor_of(heading[1])
        count = counts.get(anchor, 0)
        anchors.add(f"{anchor}-{count}" if count else anchor)
        counts[anchor] = count + 1
    return anchors | set(re.findall(r"<a\s+(?:id|name)=\"([^\"]+)\"", text))


def links_of(path):
    """Line and target of each link in a Markdown file."""
    for number, line in lines_outside_code(path.read_text(encoding="utf-8")):
        text = CODE_SPAN.sub("", line)
        for link in INLINE_LINK.finditer(text):
            yield number, link[1] if link[1] is not None else link[2]
        definition = DEFINITION.match(text)
        if definition:
            yield number, definition[1]


def fault_of(source, target):
    """Why the link is dead; None where it is not."""
    place, _, anchor = unquote(target).partition("#")
    path = source if not place else Path(os.path.normpath(source.parent / place))
    if path.is_absolute() or path.parts[:1] == ("..",):
        return "it leads out of the repository"
    if path.parts[:1] and path.parts[0] in IGNORED_FOLDERS:
        return f"{path.parts[0]}/ is not part of the repository"
    if not path.exists():
        return f"there is no {path}"
    if anchor and path.suffix == ".md" and anchor not in anchors_of(path):
        return f"{path} has no heading #{anchor}"
    return None


def main():
    num_links = num_dead = 0
    for source in markdown_files():
        for line, target in links_of(source):
            if OTHER_SITE.match(target):
                continue
            num_links += 1
            fault = fault_of(source, target)
            if fault:
                num_dead += 1
                print(f"{source}:{line}: dead link '{target}': {fault}")
    print(f"{num_links} links within the repository, {num_dead} dead")
    return 1 if num_dead else 0


if __name__ == "__main__":
    sys.exit(main())
