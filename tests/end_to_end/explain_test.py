"""leda_explain after a tiny training: the same files on any number of ranks, numbers that belong together, clear refusals.

usage: python explain_test.py
"""

import json
import subprocess
import sys
import unittest

import h5py
import numpy as np
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from leda_job import PROGRAMS, REPOSITORY, JobTestCase, as_arguments, run

EXPLAIN = str(PROGRAMS / "leda_explain")
EVALUATE = str(PROGRAMS / "leda_evaluate")


class Explain(JobTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write_phantoms()
        ended = run(cls.command(run_folder=cls.shared / "run"))
        if ended.code != 0:
            raise AssertionError(ended)
        cls.autoencoder = cls.shared / "run" / "pretrain" / "autoencoder.safetensors"
        cls.denoiser = cls.shared / "run" / "with_leda" / "denoiser.safetensors"

    def explain(self, **options):
        options = {"explain.autoencoder": self.autoencoder, "data.folder": self.data / "test",
                   "explain.output": self.folder / "out", **{n.replace("__", "."): v for n, v in options.items()}}
        return [EXPLAIN, *as_arguments(options)]

    def explanation(self, folder="out"):
        return json.loads((self.folder / folder / "explanation.json").read_text())

    def test_same_files_on_any_number_of_ranks(self):
        contents = []
        for ranks in (1, 2, 3):
            output = self.folder / str(ranks)
            ended = run(self.explain(explain__denoiser=self.denoiser, explain__output=output), ranks=ranks)
            self.assert_ended(ended, 0)
            self.assertEqual(ended.output.count("page: "), 1, "rank 0 alone speaks")
            contents.append({file.name: file.read_bytes() for file in output.iterdir()})
        self.assertEqual(contents[0], contents[1])
        self.assertEqual(contents[0], contents[2])
        self.assertEqual(len(contents[0]), 2 + 4 * 3, "page, JSON, four slices of three levels")

        found = self.explanation("1")
        self.assertEqual(found["images"], ["low dose", "denoised", "normal dose"])
        self.assertEqual([level["num_positions"] for level in found["levels"]], [4 * 1, 4 * 4, 4 * 16])
        for level in found["levels"]:
            for image in found["images"]:
                self.assertEqual(sum(word["counts"][image] for word in level["words"]), level["num_positions"])
            self.assertEqual([row["image"] for row in level["agreement"]], ["low dose", "denoised"])
            self.assertEqual([row["image"] for row in level["tissue"]], found["images"])
            # From the denoised to the normal dose: what changed is what does not match.
            changed = level["changes"][1]["num_changed"]
            self.assertAlmostEqual(level["agreement"][1]["mean"]["match_rate"], 1 - changed / level["num_positions"])
            self.assertTrue(all(margin is None or margin >= 0 for word in level["words"]
                                for margin in word["mean_margins"].values()))
        with Image.open(self.folder / "1" / "slice_000002_level_3.png") as picture:
            picture.load()
            self.assertEqual(picture.mode, "RGB")
            self.assertGreater(picture.width, 3 * 640)
        checker = REPOSITORY / "tests" / "evaluation" / "check_page.py"
        checked = subprocess.run([sys.executable, checker, self.folder / "1" / "explanation.html"],
                                 capture_output=True, text=True)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertEqual(checked.stdout.split("\n")[0], "12")

    def test_one_slice_without_denoiser(self):
        self.assert_ended(run(self.explain(explain__slices="2", explain__levels="3", explain__window="-200:300")), 0)
        found = self.explanation()
        self.assertEqual(found["slice_ids"], [2])
        self.assertEqual([level["level"] for level in found["levels"]], [3])
        self.assertEqual(found["images"], ["low dose", "normal dose"])
        self.assertIn("-200 to 300 HU", (self.folder / "out" / "explanation.html").read_text())

    def test_evaluation_has_the_same_agreement(self):
        self.assert_ended(run(self.explain(explain__denoiser=self.denoiser)), 0)
        ended = run([EVALUATE, *as_arguments({
            "data.folder": self.data, "evaluation.denoisers": f"with={self.denoiser}",
            "evaluation.autoencoder": self.autoencoder, "evaluation.output": self.folder / "results",
            "evaluation.max_tuning_slices": 2})])
        self.assert_ended(ended, 0)
        self.assertIn("words against normal dose", ended.output)
        methods = json.loads((self.folder / "results" / "evaluation.json").read_text())["methods"]
        low_dose = next(method for method in methods if method["name"] == "low dose")
        for level, words in zip(self.explanation()["levels"], low_dose["against"][0]["words"]):
            self.assertEqual(level["level"], words["level"])
            for figure in ("match_rate", "body_match_rate", "top_word_overlap", "embedding_distance"):
                self.assertAlmostEqual(level["agreement"][0]["mean"][figure], words[figure]["mean"], places=6)
        head, first = (self.folder / "results" / "evaluation.csv").read_text().split("\n")[:2]
        self.assertIn(",match_rate_level_3,", head)
        self.assertEqual(head.count(","), first.count(","))

    def test_refusals(self):
        refuse = lambda code, *words, **options: self.assert_refused(run(self.explain(**options)), code, *words)
        refuse(10, "explain.autoencoder", explain__autoencoder="")
        refuse(11, self.folder / "none", explain__autoencoder=self.folder / "none")
        refuse(11, self.folder / "none", data__folder=self.folder / "none")
        refuse(11, self.folder / "none", explain__vocabulary=self.folder / "none")
        refuse(10, "explain.slices", "4", explain__slices="1,4")
        refuse(10, "explain.patient", "nobody", explain__patient="nobody")
        refuse(10, "explain.levels", "4", explain__levels="4")
        refuse(10, "explain.legend_length", "0", explain__legend_length="0")
        self.assertFalse((self.folder / "out").exists())

    def test_another_vocabulary_is_refused(self):
        with h5py.File(REPOSITORY / "data_tools" / "vocabulary" / "minilm_1500.h5") as file:
            words = [word.decode() for word in file["words"][:]]
            embeddings = file["embeddings"][:].astype("<f4")
        for name, kept, width in (("swapped", 1500, 384), ("narrow", 1500, 100), ("short", 60, 384)):
            order = np.arange(kept)
            order[[0, 1]] = order[[1, 0]]
            path = self.folder / f"{name}.h5"
            self.write_vocabulary(path, [words[k] for k in order], embeddings[order, :width])
            self.assert_refused(run(self.explain(explain__vocabulary=path), ranks=2), 10, "explain.vocabulary",
                                self.autoencoder, f"{kept} words of {width}", "1500 words of 384")

    @staticmethod
    def write_vocabulary(path, words, embeddings):
        value = 14695981039346656037
        for byte in "".join(word + "\n" for word in words).encode() + np.ascontiguousarray(embeddings).tobytes():
            value = (value ^ byte) * 1099511628211 % 2**64
        with h5py.File(path, "w") as file:
            file.create_dataset("words", data=words, dtype=h5py.string_dtype())
            file["embeddings"] = embeddings
            file.attrs.update(format="leda-vocabulary", version=1, source="s", licence="l", hash=f"{value:016x}")

    def test_nan_in_weights_is_named(self):
        for file, name, option, code in ((self.autoencoder, "quant_conv.weight", "explain.autoencoder", 11),
                                         (self.denoiser, "conv1.weight", "explain.denoiser", 14)):
            tensors = load_file(file)
            with safe_open(file, "np") as archive:
                metadata = archive.metadata()
            tensors[name] = np.full_like(tensors[name], np.nan)
            broken = self.folder / f"{name}.safetensors"
            save_file(tensors, broken, metadata)
            words = (broken, name) if code == 11 else ("NaN", "slice 0")
            self.assert_refused(run(self.explain(**{option.replace(".", "__"): broken})), code, *words)


if __name__ == "__main__":
    unittest.main()
