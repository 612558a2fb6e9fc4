"""A cross-section of launch/campaign kill, and the disk that it models.

usage: python kill_campaign_test.py
"""

import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "support"), str(TESTS / "campaigns")]

from disk_model import STATES, Call, Disk, read_journal, read_tree, write_tree  # noqa: E402
from kill_campaign import FILE_FAULTS, QUICK_SETTINGS, WAYS, Campaign  # noqa: E402
from leda_job import environment  # noqa: E402
from power_loss_scan import scan  # noqa: E402

NUM_CASES = 8
SEED = 3


def calls(*done):
    """(operation, fields...), and for a write its bytes last; a folder's fsync as ("sync", ".")."""
    made = []
    for operation, *fields in done:
        data = fields.pop() if operation == "write" else b""
        path = "." if fields == ["."] else "x"
        made.append(Call(0, operation, path, operation, tuple(map(str, fields)), data))
    return made


class DiskModel(unittest.TestCase):
    def shown(self, *done):
        disk = Disk(calls(*done))
        return {state: disk.after_power_loss(state) for state in STATES}

    def test_what_was_fsynced_is_kept_in_every_state(self):
        for shown in self.shown(("create", "f", 7), ("write", 7, 0, b"bytes"), ("sync", 7), ("sync", ".")).values():
            self.assertEqual(shown, {"f": b"bytes"})

    def test_bytes_and_names_are_lost_apart(self):
        shown = self.shown(("create", "f", 7), ("write", 7, 0, b"by"), ("sync", 7), ("sync", "."), ("write", 7, 2, b"tes!"),
                           ("rename", "f", "g"))
        self.assertEqual(shown["nothing that was not fsynced"], {"f": b"by"})
        self.assertEqual(shown["names without bytes"], {"g": b"by"})
        self.assertEqual(shown["bytes without names"], {"f": b"bytes!"})
        self.assertEqual(shown["all but half of the last write"], {"g": b"byte"})

    def test_a_file_that_was_never_fsynced_is_empty_or_not_there(self):
        shown = self.shown(("create", "f", 7), ("write", 7, 0, b"bytes"))
        self.assertEqual(shown["nothing that was not fsynced"], {})
        self.assertEqual(shown["names without bytes"], {"f": b""})

    def test_a_removed_file_comes_back_with_its_name(self):
        shown = self.shown(("create", "f", 7), ("write", 7, 0, b"bytes"), ("sync", 7), ("sync", "."), ("unlink", "f"))
        self.assertEqual(shown["nothing that was not fsynced"], {"f": b"bytes"})
        self.assertEqual(shown["names without bytes"], {})

    def test_removals_may_outlive_the_renaming_before_them(self):
        folders = [("mkdir", "r", 1), ("mkdir", "r/p", 2), ("mkdir", "r/p/c", 3), ("mkdir", "r/p/c/s", 4),
                   ("create", "r/p/c/s/f", 5), *(("sync", inode) for inode in (4, 3, 2, 1)), ("sync", ".")]
        shown = self.shown(*folders, ("rename", "r/p/c/s", "r/p/c/t"), ("unlink", "r/p/c/t/f"))
        self.assertIn("r/p/c/s", shown["removals without the renaming before"])
        self.assertNotIn("r/p/c/s/f", shown["removals without the renaming before"])

    def test_writing_beyond_the_end_and_cutting(self):
        disk = Disk(calls(("create", "f", 7), ("write", 7, 2, b"ab"), ("truncate", 7, 3), ("extend", 7, 5)))
        self.assertEqual(disk.tree(), {"f": b"\0\0a\0\0"})

    def test_a_call_that_cannot_be_followed_is_refused(self):
        with self.assertRaisesRegex(ValueError, "cannot be followed"):
            Disk(calls(("unknown", "mmap")))

    def test_journals_and_trees_are_read_as_written(self):
        with tempfile.TemporaryDirectory() as folder:
            journal = Path(folder) / "journal"
            journal.write_bytes(b"1\twrite\tf\twrite\t7\t0\t3\n\n\t\n0\tclose\tf\tnone\t0\n")
            self.assertEqual(read_journal(journal), [Call(1, "write", "f", "write", ("7", "0"), b"\n\t\n"),
                                                     Call(0, "close", "f", "none", (), b"")])
            tree = {"d": None, "d/f": b"bytes", "e": None}
            write_tree(tree, Path(folder) / "tree")
            self.assertEqual(read_tree(Path(folder) / "tree"), tree)


# Does what the library follows; its argument names one thing more that it does not.
PROGRAM = """
import mmap, os, shutil, sys
folder, extra = sys.argv[1:]
os.mkdir(folder + "/a"); os.makedirs(folder + "/b/c")
with open(folder + "/a/x", "wb", buffering=0) as file:
    file.write(b"hello"); os.fsync(file.fileno()); os.pwrite(file.fileno(), b"J", 0)
    os.writev(file.fileno(), [b" wo", b"rld"])
with open(folder + "/a/x", "ab") as file: file.write(b"!")
with open(folder + "/a/x", "r+b") as file: file.truncate(9)
descriptor = os.open(folder + "/b/c/y", os.O_RDWR | os.O_CREAT); os.posix_fallocate(descriptor, 0, 8192)
os.rename(folder + "/a/x", folder + "/b/x"); os.rename(folder + "/b/x", folder + "/b/c/z")
open(folder + "/gone", "w").close(); os.unlink(folder + "/gone"); shutil.rmtree(folder + "/a")
os.fsync(os.open(folder, os.O_RDONLY))
if extra == "mmap": mmap.mmap(descriptor, 4096)[:3] = b"abc"
if extra == "O_TMPFILE": os.open(folder + "/b", os.O_WRONLY | os.O_TMPFILE)
if extra == "copy_file_range": os.copy_file_range(os.open("/proc/self/exe", os.O_RDONLY), descriptor, 100)
if extra == "link": os.link(folder + "/b/c/z", folder + "/other")
if extra == "truncate": os.truncate(folder + "/b/c/z", 1)
if extra == "child": os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", "echo x > " + folder + "/hidden"], {}), 0)
"""


class Library(unittest.TestCase):
    def run_program(self, extra="", words=""):
        folder = tempfile.TemporaryDirectory(prefix="leda_library_")
        self.addCleanup(folder.cleanup)
        self.watched, journal = Path(folder.name) / "watched", Path(folder.name) / "journal"
        self.watched.mkdir()
        variables = {"LD_PRELOAD": str(FILE_FAULTS),
                     "LEDA_FILE_FAULTS": f"folder={self.watched} log={journal} {words}"}
        ended = subprocess.run([sys.executable, "-c", PROGRAM, self.watched, extra], capture_output=True, text=True,
                               timeout=60, env=environment(**variables))
        return ended, read_journal(journal)

    def test_the_replayed_journal_is_the_folder(self):
        ended, journal = self.run_program()
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertEqual(Disk(journal).tree(), {"b": None, "b/c": None, "b/c/y": bytes(8192), "b/c/z": b"Jello wor"})
        self.assertEqual(Disk(journal).tree(), read_tree(self.watched))

    def test_what_it_does_not_follow_is_found(self):
        for extra in ("mmap", "O_TMPFILE", "copy_file_range", "link", "truncate"):
            with self.subTest(extra):
                ended, journal = self.run_program(extra)
                self.assertEqual(ended.returncode, 0, ended.stderr)
                with self.assertRaisesRegex(ValueError, f"cannot be followed: .*{extra}"):
                    Disk(journal)
        ended, journal = self.run_program("child")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertEqual(read_tree(self.watched).keys() - Disk(journal).tree().keys(), {"hidden"})

    def test_the_process_ends_on_the_chosen_side_of_the_chosen_call(self):
        for when, wanted in (("before", b""), ("half", b"he"), ("after", b"hello")):
            with self.subTest(when):
                ended, journal = self.run_program(words=f"rank=0 call=write path=a/x number=1 when={when} kind=kill")
                self.assertEqual(ended.returncode, -9)
                self.assertIn("file faults: kill at call 1 of write on a/x", ended.stderr)
                self.assertEqual(read_tree(self.watched)["a/x"], wanted)
                self.assertEqual(Disk(journal).tree(), read_tree(self.watched))


# What must be fsynced before a checkpoint may be called saved.
FSYNCS = {
    "the files": r".*/checkpoints/\.step_[^/]*_tmp-[^/]*/.+",
    "the checkpoint's own folder": r".*/checkpoints/\.step_[^/]*_tmp-[^/]*",
    "the folder above it": r".*/checkpoints",
    "the training's folder": r"run/[^/]+",
    "the run's folder": r"run",
}


class Killed(unittest.TestCase):
    def test_nothing_that_was_saved_is_lost(self):
        with tempfile.TemporaryDirectory(prefix="leda_kill_") as folder:
            campaign = Campaign(Path(folder), QUICK_SETTINGS)
            outcomes = []
            for case, outcome in campaign.interrupt_all(campaign.cases(NUM_CASES, SEED)):
                with self.subTest(str(case)):
                    self.assertEqual(outcome.wrong, [], outcome.output)
                outcomes.append(outcome)
            self.assertEqual(len(outcomes), NUM_CASES)
            self.assertTrue(any(max(outcome.resumed) > 0 for outcome in outcomes))
            self.the_whole_campaign_leaves_no_kind_of_call_out(campaign)
            for setting, (*_, calls) in campaign.references.items():
                with self.subTest(f"scan of {setting}"):
                    self.power_may_fail_at_every_call(calls)

    def power_may_fail_at_every_call(self, calls):
        """And an fsync less would be found: the same journal without the calls that a pattern matches."""
        result = scan(calls)
        self.assertEqual(result.faults, [])
        self.assertGreater(result.announced, 0)
        self.assertGreater(result.num_disks, 100)
        for what, pattern in FSYNCS.items():
            without = [call for call in calls if call.operation != "sync" or not re.fullmatch(pattern, call.path)]
            self.assertLess(len(without), len(calls), what)
            self.assertTrue(scan(without).faults, f"nothing is lost without the fsync of {what}")

    def the_whole_campaign_leaves_no_kind_of_call_out(self, campaign):
        kinds = {point.kind() for _, points, *_ in campaign.references.values() for point in points}
        for call in ("open", "write", "fsync", "close", "rename", "mkdir", "unlinkat"):
            self.assertIn(call, {kind[0] for kind in kinds})
        chosen = [(case.point.kind(), case.way) for case in campaign.cases(200, 1) if case.point]
        self.assertEqual(set(chosen), {(kind, way) for kind in kinds for way in WAYS})


if __name__ == "__main__":
    unittest.main(verbosity=2)
