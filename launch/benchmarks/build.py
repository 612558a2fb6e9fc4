"""Processor seconds of a build from cold, of this tree and of an earlier commit, in one run. See launch/benchmark."""

import argparse
import datetime
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.revision import commit  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[2]
TARGETS = ("programs", "all")  # in this order; what `all` adds to `programs`


def git(*words):
    return subprocess.run(["git", "-C", REPOSITORY, *words], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def seconds_of(command, log, **options):
    """Processor seconds of the command and all it started, and by the clock."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, stdout=log, stderr=log, **options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"processor": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            "clock": time.monotonic() - begin}


def build(revision, folder, targets):
    """Of a clone of its own, with this tree's dependencies and without a compiler cache."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", REPOSITORY, folder], check=True)
    subprocess.run(["git", "-C", folder, "checkout", "--quiet", "--detach", revision], check=True)
    (folder / ".deps").symlink_to(REPOSITORY / ".deps")
    found = {}
    with open(folder.parent / f"{folder.name}.log", "w") as log:
        for target in targets:
            found[target] = seconds_of(["launch/build", target], log, cwd=folder,
                                       env={**os.environ, "CCACHE_DISABLE": "1"})
    shutil.rmtree(folder)
    return found


def page(report):
    lines = ["# Time to build", "",
             f"Made by `{report['command']}` at commit {report['commit']}, {report['date']}: both trees from cold in one "
             f"run, one after the other, ccache off, {report['cores']} cores, load average {report['load']:.1f} before.", "",
             "| processor seconds | " + " | ".join(report["targets"]) + " | together | minutes by the clock |",
             "|---|" + "---|" * (len(report["targets"]) + 2)]
    totals = []
    for name in ("before", "after"):
        found = report[name]
        total = sum(of["processor"] for of in found.values())
        totals.append(total)
        cells = [f"{found[target]['processor']:.0f}" for target in report["targets"]]
        lines.append(f"| {name}, {report['revisions'][name]} | " + " | ".join(cells) +
                     f" | {total:.0f} | {sum(of['clock'] for of in found.values()) / 60:.1f} |")
    ratios = [f"{report['after'][t]['processor'] / report['before'][t]['processor']:.2f}" for t in report["targets"]]
    lines.append("| after / before | " + " | ".join(ratios) + f" | {totals[1] / totals[0]:.2f} | |")
    if "all" in report["targets"]:
        lines += ["", "`all`: the tests and what else is built, on top of the programs."]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(prog="launch/benchmark build", description="Processor seconds of a build from cold.")
    parser.add_argument("--against", default="cb6faab", help="commit to compare with (default: %(default)s)")
    parser.add_argument("--only", choices=TARGETS[:1], help="the programs alone")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs" / "results", help="folder of the page")
    options = parser.parse_args()
    targets = [options.only] if options.only else list(TARGETS)
    report = {"command": " ".join(["launch/benchmark", "build", *sys.argv[1:]]), "commit": commit(),
              "date": datetime.date.today().isoformat(), "cores": os.cpu_count(), "load": os.getloadavg()[0],
              "targets": targets, "revisions": {"before": git("rev-parse", "--short", options.against),
                                                "after": git("rev-parse", "--short", "HEAD")}}
    work = REPOSITORY / "build" / "build_time"
    work.mkdir(parents=True, exist_ok=True)
    for name in ("before", "after"):
        print(f"==> {name}: {report['revisions'][name]} from cold", flush=True)
        report[name] = build(report["revisions"][name], work / name, targets)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "build_time.json").write_text(json.dumps(report, indent=2) + "\n")
    (options.output / "build_time.md").write_text(page(report))
    print(page(report))


if __name__ == "__main__":
    main()
