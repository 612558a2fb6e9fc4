"""The same job on 1, 2 and 8 ranks with distributed.reproducible: the same bits, from first step to chosen checkpoint.

usage: python reproducible_test.py
"""

import json
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from leda_job import TRAININGS, JobTestCase, checkpoints, log_lines, run  # noqa: E402

# What may differ between numbers of ranks: time, and how many ranks there were.
MEASURED = {"time", "images_per_second", "data_wait_share", "exposed_communication_share"}


class Reproducible(JobTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write_phantoms()

    def reproducible_job(self, name, **options):
        # 12 slices in batches of 5: the last step of an epoch has two, and shares are uneven on 2 ranks and more.
        return self.job(**{"run_folder": self.folder / name, "distributed__reproducible": "true",
                           "discriminator__norm": "group", "training__global_batch": 5,
                           "training__max_gradient_norm": 1.0, "run__stages": "pretrain,baseline,denoise", **options})

    def training_contents(self, name, training):
        """Networks, optimisers, the best checkpoint's number, and all that was logged of results."""
        folder = self.folder / name / training
        newest = checkpoints(folder)[-1]
        logged = [{key: value for key, value in line.items() if key not in MEASURED} for line in log_lines(folder)
                  if line.get("event") != "checkpoint"]
        return {
            "step": newest.name,
            "networks": (newest / "networks.safetensors").read_bytes(),
            "optimisers": (newest / "optimisers.safetensors").read_bytes(),
            "best": json.loads((folder / "checkpoints" / "best.json").read_text())["step"],
            "logged": logged,
        }

    def test_one_two_and_eight_ranks_leave_the_same_bits(self):
        for ranks in (1, 2, 8):  # of eight, three have no sample at all
            self.assert_ended(run(self.reproducible_job(f"on_{ranks}"), ranks=ranks), 0)
        for training in TRAININGS:
            alone = self.training_contents("on_1", training)
            self.assertEqual(alone["step"], "step_00000012")
            self.assertGreaterEqual(len(alone["logged"]), 12)
            for ranks in (2, 8):
                with self.subTest(training=training, ranks=ranks):
                    together = self.training_contents(f"on_{ranks}", training)
                    for part in alone:
                        self.assertTrue(alone[part] == together[part], f"{part} differ")

    def test_a_run_may_go_on_with_another_number_of_ranks(self):
        self.assert_ended(run(self.reproducible_job("straight"), ranks=1), 0)
        self.assert_ended(run(self.reproducible_job("moved", autoencoder__num_steps=7, run__stages="pretrain"),
                              ranks=3), 0)
        self.assert_ended(run(self.reproducible_job("moved"), ranks=2), 0)
        for training in TRAININGS:
            straight, moved = (self.training_contents(name, training) for name in ("straight", "moved"))
            for part in ("networks", "optimisers"):
                self.assertTrue(straight[part] == moved[part], f"{training}: {part} differ")

    def test_a_network_that_couples_samples_is_refused_before_training(self):
        ended = run(self.job("--dry-run", distributed__reproducible="true", discriminator__norm="batch"), ranks=2)
        self.assert_refused(ended, 10, "distributed.reproducible", "discriminator.norm = group")


if __name__ == "__main__":
    unittest.main()
