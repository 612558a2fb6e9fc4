"""launch/support/count_tests.py on made-up runs of ctest: what it counts, what it calls a failure, and what CI forbids.

usage: python count_tests_test.py     (needs ctest on the PATH)
"""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

TWO_PASSED = """<testsuites tests="2" failures="0"><testsuite name="S">
<testcase name="A" classname="S" status="run" result="completed"/>
<testcase name="B" classname="S" status="run" result="completed"/>
</testsuite></testsuites>"""
ONE_FAILED_ONE_SKIPPED = """<testsuites tests="3" failures="1"><testsuite name="S">
<testcase name="A" classname="S" status="run" result="completed"/>
<testcase name="B" classname="S" status="run" result="completed"><failure message="no"/></testcase>
<testcase name="C" classname="S" status="run" result="skipped"><skipped message="no GPU"/></testcase>
</testsuite></testsuites>"""
ONE_SKIPPED = """<testsuites tests="1"><testsuite name="S">
<testcase name="C" classname="S" status="run" result="skipped"/></testsuite></testsuites>"""
NO_CASE = """<testsuites tests="0" failures="0"></testsuites>"""
CUT_OFF = """<testsuites tests="2"><testsuite name="S"><testcase na"""


class CountTests(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.build = Path(folder.name)
        (self.build / "test_results").mkdir()
        self.registrations = []

    def register(self, name, command="true", cases=None, labels=""):
        """A registered test that runs a shell command and, where given, leaves a result file like GoogleTest's."""
        if cases is not None:
            source = self.build / f"{name}.cases"
            source.write_text(cases)
            command = f"cp {source} {self.build}/test_results/{name}.xml; {command}"
        self.registrations.append(f'add_test({name} "sh" "-c" "{command}")')
        self.registrations.append(f'set_tests_properties({name} PROPERTIES LABELS "{labels}" SKIP_RETURN_CODE 77)')

    def count(self, ci=False, runs_ctest=True):
        """The exit code, the last line, and the lines before it."""
        (self.build / "CTestTestfile.cmake").write_text("\n".join(self.registrations) + "\n")
        if runs_ctest:
            junit = self.build / "test_results" / "ctest.junit"
            subprocess.run(["ctest", "--test-dir", self.build, "--output-junit", junit], capture_output=True)
        environment = {**os.environ, "CI": "true" if ci else ""}
        done = subprocess.run(
            [sys.executable, REPOSITORY / "launch" / "support" / "count_tests.py", self.build],
            capture_output=True, text=True, env=environment,
        )
        self.assertEqual(done.stderr, "")
        lines = done.stdout.splitlines()
        return done.returncode, lines[-1], lines[:-1]

    def test_cases_inside_programs_and_plain_tests_are_added_up(self):
        self.register("storage", cases=TWO_PASSED)
        self.register("quickstart")
        self.assertEqual(self.count(), (0, "3 passed, 0 failed, 0 skipped", []))

    def test_failed_and_skipped_cases_are_named(self):
        self.register("data", "false", ONE_FAILED_ONE_SKIPPED)
        code, last, named = self.count()
        self.assertEqual((code, last), (1, "1 passed, 1 failed, 1 skipped"))
        self.assertEqual(named, ["skipped: data: S.C", "failed: data: S.B"])

    def test_program_that_crashed_before_its_result_counts_as_failed(self):
        self.register("storage", cases=TWO_PASSED)
        self.register("data", "exit 139")
        self.assertEqual(self.count(), (1, "2 passed, 1 failed, 0 skipped", ["failed: data"]))

    def test_program_that_failed_outside_its_cases_counts_as_failed(self):
        self.register("distributed_2_ranks", "exit 1", TWO_PASSED)
        code, last, _ = self.count()
        self.assertEqual((code, last), (1, "2 passed, 1 failed, 0 skipped"))

    def test_result_that_is_cut_off_counts_as_failed(self):
        self.register("data", cases=CUT_OFF)
        self.assertEqual(self.count()[:2], (1, "0 passed, 1 failed, 0 skipped"))

    def test_program_without_a_case_counts_as_failed(self):
        self.register("data", cases=NO_CASE)
        self.assertEqual(self.count()[:2], (1, "0 passed, 1 failed, 0 skipped"))

    def test_skipped_registered_test_counts_as_skipped(self):
        self.register("end_to_end", "exit 77")
        self.assertEqual(self.count()[:2], (0, "0 passed, 0 failed, 1 skipped"))

    def test_ci_allows_skipping_only_under_the_label_gpu(self):
        self.register("training_gpu", cases=ONE_SKIPPED, labels="training;gpu")
        self.assertEqual(self.count(ci=True)[:2], (0, "0 passed, 0 failed, 1 skipped"))
        self.register("training", cases=ONE_SKIPPED, labels="training")
        self.assertEqual(self.count(ci=True)[:2], (1, "0 passed, 1 failed, 1 skipped"))

    def test_suite_without_tests_or_result_fails(self):
        self.assertEqual(self.count(runs_ctest=False)[:2], (1, "0 passed, 1 failed, 0 skipped"))
        self.assertEqual(self.count()[:2], (1, "0 passed, 1 failed, 0 skipped"))


if __name__ == "__main__":
    unittest.main()
