"""Says how the test suite ended, in one line: N passed, N failed, N skipped.

usage: count_tests.py BUILD_FOLDER

Reads what a run of ctest left in BUILD_FOLDER/test_results: ctest.junit, one entry per registered test, and NAME.xml
from each GoogleTest program NAME, one entry per case. A registered test without cases counts as one. A program that
crashed, ran no case, or failed although each of its cases passed counts as one failure more. With CI=true in the
environment a skipped test is a failure unless it carries the label gpu.
"""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path


def labels_by_test(build_folder):
    listing = subprocess.run(
        ["ctest", "--test-dir", str(build_folder), "--show-only=json-v1"], check=True, capture_output=True, text=True
    )
    labels = {}
    for test in json.loads(listing.stdout)["tests"]:
        properties = {entry["name"]: entry["value"] for entry in test.get("properties", [])}
        labels[test["name"]] = set(properties.get("LABELS", []))
    return labels


def read_case_verdicts(path):
    """Verdicts of a GoogleTest result, as (name, passed | failed | skipped); None where the file is cut off."""
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError:
        return None
    verdicts = []
    for case in root.iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        if case.find("failure") is not None:
            verdicts.append((name, "failed"))
        elif case.get("status") == "notrun" or case.get("result") in ("skipped", "suppressed"):
            verdicts.append((name, "skipped"))
        else:
            verdicts.append((name, "passed"))
    return verdicts


def read_registered_test(entry, results_folder):
    """Verdicts of one ctest entry: those of its cases, or its own where it has none."""
    name = entry.get("name")
    own = {"run": "passed", "fail": "failed"}.get(entry.get("status"), "skipped")
    case_file = results_folder / f"{name}.xml"
    if not case_file.exists():
        return [(name, own)]
    cases = read_case_verdicts(case_file)
    if cases is None:
        return [(f"{name}: its result file is cut off", "failed")]
    if not cases:
        return [(f"{name}: ran no case", "failed")]
    verdicts = [(f"{name}: {case}", verdict) for case, verdict in cases]
    if own == "failed" and all(verdict != "failed" for _, verdict in cases):
        verdicts.append((f"{name}: failed outside its cases", "failed"))
    return verdicts


def read_suite(build_folder):
    """All verdicts as (name, verdict, labels)."""
    results_folder = build_folder / "test_results"
    junit = results_folder / "ctest.junit"
    if not junit.exists():
        return [("ctest left no result", "failed", set())]
    labels = labels_by_test(build_folder)
    suite = []
    for entry in ElementTree.parse(junit).getroot().iter("testcase"):
        for name, verdict in read_registered_test(entry, results_folder):
            suite.append((name, verdict, labels.get(entry.get("name"), set())))
    return suite or [("ctest ran no test", "failed", set())]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    suite = read_suite(Path(sys.argv[1]))
    if os.environ.get("CI") == "true":
        suite = [
            (f"{name} (skipped, which CI does not allow)", "failed", labels)
            if verdict == "skipped" and "gpu" not in labels
            else (name, verdict, labels)
            for name, verdict, labels in suite
        ]
    for wanted in ("skipped", "failed"):
        for name, verdict, _ in suite:
            if verdict == wanted:
                print(f"{wanted}: {name}")
    counts = Counter(verdict for _, verdict, _ in suite)
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped", flush=True)
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
