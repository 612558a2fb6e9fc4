"""A checkpoint of the published structure, imported, in stage 2; both stages with autoencoder.compatibility = published;
and what is refused there. What the network computes: tests/training/published_weights_test.cpp."""

import json
import subprocess
import sys
import unittest

from leda_job import REPOSITORY, JobTestCase, log_lines, run
from safetensors import safe_open

IMPORT = str(REPOSITORY / "data_tools" / "import_autoencoder.py")


def python(*command):
    ended = subprocess.run([sys.executable, "-W", "ignore", *map(str, command)], capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise AssertionError(ended.stdout + ended.stderr)


class ImportedAutoencoder(JobTestCase):
    PUBLISHED = {"autoencoder__compatibility": "published", "leda__weight": 0.5, "denoiser__crop": 0,
                 "denoiser__num_steps": 2, "autoencoder__num_steps": 2}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write_phantoms()
        python(REPOSITORY / "tests" / "training" / "published_network.py", cls.shared)
        cls.checkpoint = cls.shared / "published.ckpt"
        cls.imported = cls.shared / "autoencoder.safetensors"
        python(IMPORT, cls.checkpoint, "--output", cls.imported, "--encoder-only")

    def stage_2(self, **options):
        return self.job(**{"run__stages": "denoise", "leda__autoencoder": self.imported, **self.PUBLISHED, **options})

    def test_stage_2_trains_with_an_imported_file_on_any_number_of_ranks(self):
        losses = []
        for ranks in (1, 2):
            run_folder = self.folder / f"run_{ranks}"
            self.assert_ended(run(self.stage_2(run_folder=run_folder, training__precision="float64"), ranks=ranks), 0)
            lines = [line for line in log_lines(run_folder / "with_leda") if "leda_feature" in line]
            self.assertEqual([line["step"] for line in lines], [1, 2])
            losses.append([(line["leda_feature"], line["leda_token"]) for line in lines])
            self.assertTrue((run_folder / "with_leda" / "denoiser.safetensors").exists())
        self.assertTrue(all(feature > 0 for run_losses in losses for feature, _ in run_losses), losses)
        for alone, shared in zip(*losses):
            self.assertAlmostEqual(alone[0], shared[0], delta=1e-9 * alone[0])
            self.assertAlmostEqual(alone[1], shared[1], delta=1e-9)

    def test_both_stages_as_published(self):
        ended = run(self.job(run__stages="pretrain,denoise", autoencoder__strides="16,4,1", discriminator__weight=0,
                             vocabulary__normalise_rows="false", **self.PUBLISHED))
        self.assert_ended(ended, 0)
        with safe_open(self.folder / "run" / "pretrain" / "autoencoder.safetensors", "numpy") as file:
            self.assertEqual(json.loads(file.metadata()["options"])["compatibility"], "published")

    def test_a_file_that_is_not_published_is_refused_where_that_is_asked_for(self):
        own = self.folder / "own.safetensors"
        python(IMPORT, self.checkpoint, "--output", own, "--compatibility", "none")
        self.assert_refused(run(self.stage_2(leda__autoencoder=own)), 10, "leda.autoencoder", "compatibility")
        self.assert_refused(run(self.stage_2(data__window="wide")), 10, "data.window", "published")
        self.assert_refused(run(self.stage_2(data__window="wide", autoencoder__compatibility="none")), 10,
                            "leda.autoencoder", "window")


if __name__ == "__main__":
    unittest.main()
