"""launch/study candidates: its page on made-up results, its CLIP's captions, and the whole of it with a few steps.

usage: python candidates_test.py
"""

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import h5py
import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "tests" / "support"), str(REPOSITORY / "launch")]

import phantom_clip  # noqa: E402
from leda_job import PROGRAMS, environment  # noqa: E402
from studies import candidates  # noqa: E402
from tissue_terms import TISSUE_TERMS  # noqa: E402


def run_of(seed, bone, lung):
    tissues = {"air": {"matches": 0, "cells": 7}, "lung": {"matches": lung, "cells": 100},
               "bone": {"matches": bone, "cells": 50}, "metal": {"matches": 0, "cells": 0}}
    return {"seed": seed, "seconds": 60.0, "commit": "abc", "date": "today",
            "trained": {"balanced_match": (bone / 50 + lung / 100) / 2, "tissues": tissues}}


class Page(unittest.TestCase):
    def test_shares_are_means_over_seeds(self):
        conditions = [{"name": "position", "title": "by position", "options": {}},
                      {"name": "image", "title": "by image", "options": {"words.placement": "image"}}]
        text = candidates.page_of({
            "command": "launch/study candidates", "commit": "abc", "date": "today", "ranks": 2, "cores": 2,
            "is_tiny": False, "seeds": [1, 2], "clip": "The CLIP: one.", "conditions": conditions,
            "results": {"position": [run_of(1, 50, 80), run_of(2, 50, 80)], "image": [run_of(1, 0, 10), run_of(2, 10, 10)]}})
        self.assertIn("| candidates | balanced | air | lung | bone |", text)
        self.assertIn("| by position | **0.900 ± 0.000** | 0.00 ± 0.00 | 0.80 ± 0.00 | 1.00 ± 0.00 |", text)
        # Bone 0 and 0.2: half width 12.7062 * sqrt(0.02) / sqrt(2).
        self.assertIn("| by image | **0.100 ± 0.635** | 0.00 ± 0.00 | 0.10 ± 0.00 | 0.10 ± 1.27 |", text)
        self.assertIn("- by image: `words.placement = image`", text)
        self.assertIn("4 runs of 2 ranks x 1 thread on 2 cores, 4 minutes", text)


class Captions(unittest.TestCase):
    def test_salience_is_the_share_over_its_mean(self):
        shares = np.zeros((2, len(TISSUE_TERMS)))
        shares[:, 0] = 0.8  # air, everywhere alike
        shares[:, 1] = [0.15, 0.05]
        shares[:, 4] = [0.05, 0.15]
        salient = phantom_clip.salience(shares)
        np.testing.assert_allclose(salient[0, [0, 1, 4]], [1 / 3, 1.5 / 3, 0.5 / 3])
        np.testing.assert_allclose(salient.sum(1), 1)
        self.assertEqual(salient[0, 7], 0)

    def test_a_caption_names_what_the_slice_shows(self):
        salient = np.zeros(len(TISSUE_TERMS))
        salient[6] = 1
        random = np.random.default_rng(1)
        words = {phantom_clip.caption(random, salient) for _ in range(100)}
        self.assertEqual(words, {f"a ct of {term}" for term in TISSUE_TERMS["bone"].split()})


    def test_the_clip_learns(self):
        with tempfile.TemporaryDirectory(prefix="leda_clip_") as name:
            shards = Path(name) / "shards"
            random = np.random.default_rng(1)
            shards.mkdir()
            tissue = np.zeros((8, 32, 32), np.uint8)
            tissue[:4, 8:24, 8:24], tissue[4:, 8:24, 8:24] = 1, 6  # slices of lung and slices of bone, in air
            with h5py.File(shards / "shard.h5", "w") as shard:
                shard["tissue"] = tissue
                hu = np.array([-1000, -800, 0, 0, 0, 0, 800, 0])[tissue]
                shard["normal_dose"] = (hu + random.normal(0, 20, hu.shape)).astype(np.int16)
            losses = phantom_clip.make_phantom_clip(Path(name) / "clip", shards, num_steps=40)
            self.assertLess(np.mean(losses[-5:]), np.mean(losses[:5]) - 0.3)


class Study(unittest.TestCase):
    def test_runs_of_another_clip_are_other_runs(self):
        def folder(clip, kind):
            study = argparse.Namespace(folder=Path("runs"), clip=clip)
            return candidates.run_folder_of(study, {"name": kind, "clip": kind}, 1)
        self.assertEqual(folder(None, "trained"), Path("runs/seed_1/trained"))
        self.assertEqual(folder(Path("models/mine"), "trained"), Path("runs/seed_1/trained_mine"))
        self.assertEqual(folder(Path("models/mine"), "random"), Path("runs/seed_1/random"))

    def test_a_clip_that_is_not_there_is_refused_at_once(self):
        with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()) as said:
            candidates.parse_arguments(["--clip", "/nowhere/clip"])
        self.assertIn("/nowhere/clip is no folder of a CLIP model", said.getvalue())

    def study(self, folder, *arguments):
        done = subprocess.run(
            [sys.executable, str(REPOSITORY / "launch" / "studies" / "candidates.py"), "--tiny", "--seeds", "1",
             "--ranks", "1", "--only", "clip_by_tissue", "--folder", str(folder / "runs"),
             "--output", str(folder / "results"), *arguments],
            env=environment(PATH=f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}", OMP_NUM_THREADS="1"),
            capture_output=True, text=True, timeout=200, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_makes_its_clip_scores_trains_and_goes_on(self):
        with tempfile.TemporaryDirectory(prefix="leda_candidates_") as name:
            folder = Path(name)
            self.study(folder)
            report = json.loads((folder / "results" / "candidates.json").read_text())
            self.assertEqual(list(report["results"]), ["position", "clip_by_tissue"])
            options = (folder / "runs" / "seed_1" / "clip_by_tissue" / "options.cfg").read_text()
            self.assertIn(f"words.scores = {folder.resolve() / 'runs' / 'scores_clip_trained.h5'}", options)
            self.assertIn("words.restrict_to_tissue = true", options)
            page = (folder / "results" / "candidates.md").read_text()
            self.assertIn("| tissue of the position | **", page)
            self.assertIn("The figures mean nothing", page)
            again = self.study(folder)
            self.assertEqual(again.count("kept: "), 2, again)
            self.assertEqual(again.count("CLIP, "), 0, again)


if __name__ == "__main__":
    unittest.main(verbosity=2)
