"""launch/campaign word_maps: what its page says of a training, and when it is content."""

import copy
import sys
import tempfile
import unittest
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "support"), str(TESTS / "campaigns")]

import word_maps_campaign  # noqa: E402
from leda_job import run  # noqa: E402

TISSUES = ("air", "lung", "fat", "water", "soft", "blood", "bone", "metal")
# Two steps on one patient's slices of 64 pixels.
TINY = ["--autoencoder.num_steps=2", "--autoencoder.channels=4", "--autoencoder.norm_groups=2", "--data.phantom_size=64",
        "--data.num_train_patients=1", "--data.num_validation_patients=1", "--data.num_test_patients=1",
        "--data.slices_per_patient=4", "--training.num_warm_up_steps=0", "--distributed.threads_per_rank=1"]


def report(matches, cells):
    """word_maps.json with one row: matches of so many cells of bone and of lung, none of other tissues."""
    tissues = {name: {"matches": 0, "cells": 0} for name in TISSUES}
    for name, right in zip(("bone", "lung"), matches):
        tissues[name] = {"matches": right, "cells": cells}
    level = {"balanced_match": sum(matches) / cells / 2, "tissues": tissues}
    return {"pure_share": 0.7, "min_cells": 50, "rows": [{"name": "trained", "levels": [copy.deepcopy(level), level]}]}


class Page(unittest.TestCase):
    def page(self, *reports):
        by_seed = dict(enumerate(reports, 1))
        return word_maps_campaign.page(by_seed, dict.fromkeys(by_seed, 60.0), "launch/campaign word_maps", [])

    def test_names_every_tissue_that_occurs_and_the_verdict(self):
        text, wrong = self.page(report((90, 80), 100))
        self.assertEqual(wrong, [])
        self.assertIn("| | balanced | lung | bone |", text)
        self.assertIn("| cells | | 100 | 100 |", text)
        self.assertIn("| trained | **0.850** | 0.800 | 0.900 |", text)
        self.assertIn("80% wanted: met", text)

    def test_misses_below_the_share_with_any_seed(self):
        text, wrong = self.page(report((90, 80), 100), report((90, 60), 100))
        self.assertEqual(len(wrong), 1)
        self.assertIn("seed 2", wrong[0])
        self.assertIn("80% wanted: missed", text)

    def test_misses_where_a_tissue_has_too_few_cells(self):
        self.assertEqual(len(self.page(report((49, 49), 49))[1]), 2)


class Campaign(unittest.TestCase):
    def test_trains_measures_and_writes_the_page(self):
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder) / "page.md"
            ended = run([sys.executable, word_maps_campaign.__file__, str(page), *TINY], timeout=200)
            self.assertEqual(ended.code, 1, ended)  # nobody learns words in two steps
            text = page.read_text()
            for row in ("trained", "untrained encoder", "shuffled codebook", "shuffled tissue words"):
                self.assertIn(f"| {row} | **", text)
            self.assertIn("80% wanted: missed", text)
            self.assertIn("--autoencoder.num_steps=2", text)


if __name__ == "__main__":
    unittest.main()
