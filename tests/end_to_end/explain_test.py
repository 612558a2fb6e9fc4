"""leda_explain after a tiny training: the same files on any number of ranks, numbers that belong together, clear refusals,
and signals.

usage: python explain_test.py
"""

import json
import os
import signal
import subprocess
import sys
import unittest
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from leda_job import DATA, PROGRAMS, REPOSITORY, JobTestCase, Running, as_arguments, run  # noqa: E402

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
        # One core for all, and so one thread a rank: with others the rounding of a convolution may differ.
        one_core = {min(os.sched_getaffinity(0))}
        for ranks in (1, 2, 3):
            output = self.folder / str(ranks)
            ended = run(self.explain(explain__denoiser=self.denoiser, explain__output=output), ranks=ranks,
                        preexec_fn=lambda: os.sched_setaffinity(0, one_core))
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
        checker = REPOSITORY / "tests" / "support" / "offline_page_reader.py"
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

    def test_an_autoencoder_without_hash_is_known_by_its_codebook(self):
        # Only files that were imported lack it; they have no control either, but a page has to name one.
        with safe_open(self.autoencoder, "np") as archive:
            metadata = {**archive.metadata(), "vocabulary_hash": "none", "vocabulary_control": "shuffled, seed 2"}
        imported = self.folder / "imported.safetensors"
        save_file(load_file(self.autoencoder), imported, metadata)
        self.assert_ended(run(self.explain(explain__autoencoder=imported, explain__max_pictures=0)), 0)
        words = lambda folder: [level["words"] for level in self.explanation(folder)["levels"]]
        with_hash = self.explain(explain__output=self.folder / "with_hash", explain__max_pictures=0)
        self.assert_ended(run(with_hash), 0)
        self.assertEqual(words("out"), words("with_hash"))
        for folder, control in (("out", "shuffled, seed 2"), ("with_hash", "none")):
            self.assertEqual(self.explanation(folder)["vocabulary_control"], control)
            page = (self.folder / folder / "explanation.html").read_text()
            self.assertEqual("<dt>Codebook ablation</dt>" in page, control != "none")

    def series(self):
        """Two patients without low dose: slices 0 to 3 of the first in two series, 4 and 5 of the second."""
        data, raw = self.folder / "series", self.folder / "raw"
        data.mkdir()
        generator = np.random.default_rng(1)
        for k, (patient, series) in enumerate((("first", "thin"), ("first", "thick"), ("second", "thin"))):
            raw.write_bytes(generator.integers(-1000, 400, (2, 64, 64)).astype("<i2").tobytes())
            self.assert_ended(run([DATA, "import", *as_arguments({
                "data.input": raw, "data.output": self.folder / str(k), "data.raw_shape": "2,64,64",
                "data.raw_spacing_mm": "1,1,1", "data.patient": patient, "data.series": series})]), 0)
            (self.folder / str(k) / "shard_00000.h5").rename(data / f"shard_{k:05}.h5")
        return data

    def test_one_series(self):
        data = self.series()
        for choice, slices, patients in (({"explain__series": "thin"}, [0, 1, 4, 5], 2),
                                         ({"explain__series": "thin", "explain__patient": "first"}, [0, 1], 1),
                                         ({"explain__series": "thick"}, [2, 3], 1)):
            output = self.folder / "_".join(choice.values())
            self.assert_ended(run(self.explain(data__folder=data, explain__output=output, **choice)), 0)
            found = self.explanation(output)
            self.assertEqual(found["images"], ["normal dose"])
            self.assertEqual((found["slice_ids"], found["num_patients"]), (slices, patients))
            self.assertEqual(sorted(file.name for file in output.glob("*.png")),
                             [f"slice_{id:06}_level_{level}.png" for id in slices for level in (1, 2, 3)])

        refuse = lambda *words, **options: self.assert_refused(
            run(self.explain(data__folder=data, **options)), 10, *words)
        refuse("explain.series", "'fine'", "the series thin, thick", explain__series="fine")
        refuse("explain.patient", "'third'", "the patients first, second", explain__patient="third")
        refuse("explain.series", "'thick'", "of patient 'second'", "the series thin", explain__series="thick",
               explain__patient="second")
        refuse("explain.slices", "0, 2", "slices 4 to 5", explain__slices="2,0", explain__patient="second")
        self.assertFalse((self.folder / "out").exists())

    def many_slices(self, num_shards):
        data = self.folder / "many"
        data.mkdir()
        for k in range(num_shards):
            os.link(self.data / "test" / "shard_00000.h5", data / f"shard_{k:05}.h5")
        return data

    def stopped(self, moment, number, rank, command):
        """How it ended on a signal to one rank that came once `moment` was said."""
        with Running(command, ranks=None if rank is None else 2) as running:
            running.wait_until(lambda: moment in running.output)
            os.kill(running.process.pid if rank is None else running.ranks()[rank], number)
            return running.ended()

    def test_a_signal_ends_it_after_the_slices_under_way_and_leaves_an_earlier_page_as_it_was(self):
        self.assert_ended(run(self.explain(explain__slices="0")), 0)
        read = lambda: {file.name: file.read_bytes() for file in (self.folder / "out").iterdir()}
        earlier = read()
        command = self.explain(data__folder=self.many_slices(200), explain__max_pictures=0)
        for number, rank, code in ((signal.SIGINT, None, 86), (signal.SIGTERM, 1, 86), (signal.SIGUSR1, 0, 85)):
            ended = self.stopped("words   0 %", number, rank, command)
            self.assert_ended(ended, code)
            self.assertIn("nothing was written", ended.output)
            self.assertNotIn("100 %", ended.output)
            self.assertNotIn("page: ", ended.output)
            self.assertEqual(read(), earlier)

    def test_a_signal_while_pictures_are_drawn_leaves_no_folder(self):
        command = self.explain(data__folder=self.many_slices(20), explain__max_pictures=80)
        for number, rank in ((signal.SIGTERM, None), (signal.SIGINT, 1)):
            ended = self.stopped("words 100 %", number, rank, command)
            self.assert_ended(ended, 86)
            self.assertIn("nothing was written", ended.output)
            self.assertNotIn("page: ", ended.output)
            self.assertFalse((self.folder / "out").exists())

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
