"""leda_data: every command on tiny inputs, alone and on two ranks.

usage: python data_program_test.py
"""

import json
import os
import shutil
import signal
import sys
import unittest
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from leda_job import DATA, JobTestCase, Running, as_arguments, run  # noqa: E402


class DataProgram(JobTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.phantoms = cls.shared / "phantoms"
        ended = run(cls.phantom_command(cls.phantoms), ranks=2)
        if ended.code != 0:
            raise AssertionError(ended)

    @staticmethod
    def command(name, **options):
        return [DATA, name, *as_arguments({f"data.{key}": value for key, value in options.items()})]

    @classmethod
    def phantom_command(cls, folder, **options):
        return cls.command("phantom", **{"output": folder, "num_patients": 3, "slices_per_patient": 4,
                                         "slices_per_shard": 4, "size": 64, **options})

    def assert_done(self, ended):
        self.assert_ended(ended, 0)
        self.assertEqual(ended.errors, "")
        return ended.output

    def shard_bytes(self, folder):
        return {path.name: path.read_bytes() for path in folder.glob("*.h5")}

    def test_phantoms_do_not_depend_on_the_number_of_ranks(self):
        alone = self.folder / "alone"
        self.assert_done(run(self.phantom_command(alone)))
        self.assertEqual(len(self.shard_bytes(alone)), 3)
        self.assertEqual(self.shard_bytes(alone), self.shard_bytes(self.phantoms))

        # A second call finds its work done; other options in the same folder are refused.
        before = {path: path.stat().st_mtime_ns for path in alone.iterdir()}
        self.assert_done(run(self.phantom_command(alone), ranks=2))
        self.assertEqual({path: path.stat().st_mtime_ns for path in alone.iterdir()}, before)
        for ranks in (None, 2):
            self.assert_refused(run(self.phantom_command(alone, seed=2), ranks=ranks), 11, alone)
        self.assertEqual({path: path.stat().st_mtime_ns for path in alone.iterdir()}, before)

    def test_a_signal_leaves_whole_shards_and_the_next_call_the_rest(self):
        whole = self.folder / "whole"
        many = {"num_patients": 2, "size": 256, "slices_per_patient": 8, "slices_per_shard": 2}
        self.assert_done(run(self.phantom_command(whole, **many), ranks=2))
        for ranks, number, code in ((None, signal.SIGINT, 86), (2, signal.SIGUSR1, 85)):
            folder = self.folder / f"stopped_{ranks}_{number}"
            with self.subTest(ranks=ranks, signal=number):
                command = self.phantom_command(folder, **many)
                with Running(command, ranks) as running:
                    running.wait_until(lambda: list(folder.glob("shard_*.h5")))
                    os.kill(running.ranks()[-1] if ranks else running.process.pid, number)
                    ended = running.ended()
                self.assert_ended(ended, code)
                self.assertEqual(ended.output.count("stopped, on request"), 1, ended)
                self.assertFalse((folder / "dataset.json").exists())
                self.assertEqual(list(folder.glob(".shard_*")), [])
                written = self.shard_bytes(folder)
                self.assertLess(len(written), 8)
                self.assertEqual(written, {name: self.shard_bytes(whole)[name] for name in written})
                self.assert_done(run(command, ranks))
                self.assertEqual(self.shard_bytes(folder), self.shard_bytes(whole))

    def test_info_says_what_h5py_finds(self):
        for ranks in (None, 2):
            output = self.assert_done(run(self.command("info", folder=self.phantoms), ranks=ranks))
            facts = {line[:14].strip(): line[14:].strip() for line in output.splitlines()}
            images = []
            for path in sorted(self.phantoms.glob("*.h5")):
                with h5py.File(path) as shard:
                    images.append(shard["normal_dose"][:])
                    self.assertEqual(shard["dose_fraction"][:].tolist(), [0.25] * 4)
            images = np.concatenate(images)
            self.assertEqual(facts["slices"], "12")
            self.assertEqual(facts["patients"], "3")
            self.assertEqual(facts["shape"], "64 x 64")
            self.assertEqual(facts["dose"], "0.25")
            self.assertEqual(facts["HU range"], f"{images.min()} to {images.max()} (normal dose)")
            description = json.loads((self.phantoms / "dataset.json").read_text())
            self.assertEqual(facts["fingerprint"], description["fingerprint"])

    def test_verify_names_shard_and_slice_of_a_flipped_byte(self):
        damaged = self.folder / "damaged"
        shutil.copytree(self.phantoms, damaged)
        self.assertIn("12 slices", self.assert_done(run(self.command("verify", folder=damaged), ranks=2)))
        path = damaged / "shard_00001.h5"
        with h5py.File(path) as shard:
            chunk = shard["low_dose"].id.get_chunk_info_by_coord((2, 0, 0))
        with open(path, "r+b") as file:
            file.seek(chunk.byte_offset + chunk.size // 2)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 1]))
        for ranks in (None, 2):
            ended = run(self.command("verify", folder=damaged), ranks=ranks)
            self.assert_refused(ended, 11, path, "low_dose", "slice 2 is damaged")

    def test_a_volume_goes_all_the_way_from_import_to_split(self):
        rng = np.random.default_rng(1)
        rows, columns = np.mgrid[:64, :64] - 31.5
        disc = np.where(rows**2 + columns**2 < 24**2, 40, -1000)
        volume = (disc + rng.integers(-5, 6, (20, 64, 64))).astype("<i2")
        (self.folder / "volume.raw").write_bytes(volume.tobytes())
        normal, quarter, sets = (self.folder / name for name in ("normal", "quarter", "sets"))
        self.assert_done(run(self.command(
            "import", input=self.folder / "volume.raw", output=normal, raw_shape="20,64,64",
            raw_spacing_mm="1.5,1.5,2", patient="someone", slices_per_shard=8), ranks=2))
        self.assert_done(run(self.command("simulate", input=normal, output=quarter, dose_fraction=0.25), ranks=2))
        self.assert_done(run(self.command("split", input=quarter, output=sets, slices="0:8,10:14,16:20", gap=2)))

        found = {}
        for part, wanted in (("train", range(8)), ("validation", range(10, 14)), ("test", range(16, 20))):
            positions, normal_dose, low_dose = [], [], []
            for path in sorted((sets / part).glob("*.h5")):
                with h5py.File(path) as shard:
                    positions += shard["position_mm"][:].tolist()
                    normal_dose.append(shard["normal_dose"][:])
                    low_dose.append(shard["low_dose"][:])
                    self.assertEqual({name.rstrip(b"\0") for name in shard["patient"][:]}, {b"someone"})
            self.assertEqual(positions, [2.0 * index for index in wanted])
            np.testing.assert_array_equal(np.concatenate(normal_dose), volume[list(wanted)])
            found[part] = np.concatenate(low_dose).astype(float) - volume[list(wanted)]
        inside = disc > 0
        for part, noise in found.items():
            self.assertGreater(noise[:, inside].std(), 2.0, part)
            self.assertLess(abs(noise[:, inside].mean()), 3.0, part)

        # The same files from another number of ranks.
        again = self.folder / "again"
        self.assert_done(run(self.command("simulate", input=normal, output=again, dose_fraction=0.25)))
        self.assertEqual(self.shard_bytes(again), self.shard_bytes(quarter))

    def test_split_keeps_patients_together(self):
        sets = self.folder / "sets"
        self.assert_done(run(self.command("split", input=self.phantoms, output=sets, patients="1,1,1"), ranks=2))
        seen = []
        for part in ("train", "validation", "test"):
            names = set()
            for path in (sets / part).glob("*.h5"):
                with h5py.File(path) as shard:
                    names |= {bytes(name) for name in shard["patient"][:]}
            self.assertEqual(len(names), 1, part)
            seen += names
        self.assertEqual(len(set(seen)), 3)

    def test_every_command_has_help_and_the_program_lists_them(self):
        overview = self.assert_done(run([DATA, "--help"]))
        version = self.assert_done(run([DATA, "--version"])).split()[1]
        self.assertEqual(overview, self.assert_done(run([DATA])))
        for name in ("phantom", "import", "simulate", "split", "info", "verify"):
            self.assertIn(f"\n  {name} ", overview)
            text = self.assert_done(run([DATA, name, "--help"]))
            self.assertIn(f"\n  leda_data {name} --data.", text)
            self.assertIn("--data.", self.assert_done(run([DATA, name, "--help=data"])))
            self.assertEqual(self.assert_done(run([DATA, name, "--version"])).split(), ["leda_data", name, version])

    def test_a_dump_is_read_back_in_both_spellings_of_config(self):
        wanted = ["--data.gap", "3", "--data.fractions=0.5,0.25,0.25"]
        dump = self.assert_done(run([DATA, "split", *wanted, "--dump-config"]))
        self.assertIn("data.gap = 3\n", dump)
        file = self.folder / "split.cfg"
        file.write_text(dump)
        for config in (["--config", file], [f"--config={file}"]):
            again = self.assert_done(run([DATA, "split", *config, "--dump-config"]))
            self.assertEqual(again, dump)

    def test_quiet_leaves_results_alone(self):
        phantoms = self.folder / "quiet"
        self.assertEqual(self.assert_done(run([*self.phantom_command(phantoms), "--quiet"])), "")
        self.assertIn("slices", self.assert_done(run([DATA, "--quiet", "info", "--data.folder", phantoms])))

    def test_mistakes_are_refused_with_what_to_try(self):
        raw = self.folder / "raw"
        raw.write_bytes(bytes(2 * 2 * 64 * 64))
        raw_options = {"input": raw, "output": self.folder / "out", "raw_spacing_mm": "1,1,1"}
        cases = {
            "unknown command": ([DATA, "phantoms"], 10, ["phantoms", "did you mean phantom?"]),
            "unknown option": (self.command("phantom", sise=64), 10, ["data.sise", "data.size"]),
            "missing option": (self.command("phantom"), 10, ["leda_data phantom needs --data.output"]),
            "wrong kind": (self.command("phantom", output=raw, size="large"), 10, ["data.size", "'large'"]),
            "size": (self.command("phantom", output=self.folder / "out", size=72), 10, ["72", "multiple of 16"]),
            "dose": (self.command("phantom", output=self.folder / "out", dose_fraction=1.5), 10, ["1.5", "at most 1"]),
            "missing folder": (self.command("verify", folder=self.folder / "none"), 11, [self.folder / "none"]),
            "missing input": (self.command("import", **{**raw_options, "input": self.folder / "none"},
                                           raw_shape="2,64,64"), 11, [self.folder / "none"]),
            "wrong shape": (self.command("import", **raw_options, raw_shape="3,64,64"), 11, [raw, "16384 bytes"]),
            "no project": (self.command("import", input=raw, output=self.folder / "out"), 10, [raw, ".inv3"]),
            "gap": (self.command("split", input=self.phantoms, output=self.folder / "out", slices="0:1,2:3,4:5",
                                 gap=5), 10, ["train and validation are too close"]),
            "output": (self.command("phantom", output=raw / "out", num_patients=1, size=64), 12, [raw]),
        }
        for name, (command, code, words) in cases.items():
            with self.subTest(name):
                self.assert_refused(run(command), code, *words)
                self.assertEqual([path for path in (self.folder / "out").rglob("*") if path.is_file()], [])
        for name in ("unknown command", "missing folder", "wrong shape", "output"):
            with self.subTest(name, ranks=2):
                command, code, words = cases[name]
                self.assert_refused(run(command, ranks=2), code, *words)


if __name__ == "__main__":
    unittest.main(verbosity=2)
