"""A checkpoint of the published structure, imported, in stage 2 and in leda_explain; both stages with
autoencoder.compatibility = published; and what is refused there. What the network computes:
tests/model_files/published_weights_test.cpp."""

import json
import subprocess
import sys
import unittest
from pathlib import Path

from safetensors import safe_open
from safetensors.numpy import load_file

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "tests" / "support"), str(REPOSITORY / "data_tools")]

import vocabulary_file  # noqa: E402
from leda_job import PROGRAMS, JobTestCase, as_arguments, log_lines, run  # noqa: E402

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
        python(REPOSITORY / "tests" / "support" / "published_network.py", cls.shared)
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

    def test_leda_explain_takes_the_words_of_the_codebook_and_no_others(self):
        words = [f"word{k}" for k in range(400)]
        rows = load_file(self.imported)["quantize.embedding.weight"]
        own, moved = self.folder / "own.h5", self.folder / "moved.h5"
        facts = {"source": "a model", "licence": "none"}
        own_hash = vocabulary_file.write_vocabulary(own, words, rows, **facts)
        vocabulary_file.write_vocabulary(moved, words, 1.01 * rows, **facts)

        def explain(vocabulary, autoencoder=self.imported):
            return run([str(PROGRAMS / "leda_explain"), *as_arguments({
                "data.folder": self.data / "test", "explain.autoencoder": autoencoder, "explain.slices": 1,
                "explain.vocabulary": vocabulary, "explain.output": self.folder / "out"})])
        found = lambda: json.loads((self.folder / "out" / "explanation.json").read_text())
        # The file says no hash: the rows themselves are compared.
        ended = explain(own)
        self.assert_ended(ended, 0)
        self.assertIn("no agreement with the tissue labels", ended.output + ended.errors)
        explained = found()
        self.assertEqual(explained["vocabulary_hash"], own_hash)
        self.assertEqual([level["cell_pixels"] for level in explained["levels"]], [64, 16, 4])
        for vocabulary in ("builtin", moved):
            self.assert_refused(explain(vocabulary), 10, "explain.vocabulary", "400 words of 24", "hash none",
                                "--write-vocabulary")
        # Named words of rows that have moved: those of the file that the import wrote, under its hash.
        named, written = self.folder / "named.safetensors", self.folder / "written.h5"
        python(IMPORT, self.checkpoint, "--output", named, "--encoder-only", "--vocabulary", moved,
               "--write-vocabulary", written)
        self.assert_refused(explain(moved, named), 10, "explain.vocabulary", "--write-vocabulary")
        self.assert_ended(explain(written, named), 0)
        self.assertEqual(found()["levels"], explained["levels"])


if __name__ == "__main__":
    unittest.main()
