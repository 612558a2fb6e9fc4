"""From a CLIP folder to a trained autoencoder: data_tools/score_words.py, its file, and words.source = scores.

usage: python word_scores_test.py

The CLIP has random weights: that the numbers are the right ones can be tested with it, that they mean something cannot.
"""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import unittest
from pathlib import Path
from unittest import mock

import h5py
import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "tests" / "support"), str(REPOSITORY / "data_tools")]

import clip_scorer  # noqa: E402
import score_words  # noqa: E402
import tiny_clip  # noqa: E402
import torch  # noqa: E402
from leda_job import DATA, JobTestCase, as_arguments, checkpoints, run  # noqa: E402

SCRIPT = REPOSITORY / "data_tools" / "score_words.py"
VOCABULARY_SIZE = 1500
REPRODUCIBLE = {"distributed__reproducible": "true", "discriminator__weight": 0}


class WordScoresTestCase(JobTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        torch.set_num_threads(1)
        cls.write_phantoms()
        cls.clip = cls.shared / "clip"
        tiny_clip.make_tiny_clip(cls.clip)
        cls.scores = cls.shared / "scores.h5"
        cls.score_slices(cls, cls.scores)

    def score_slices(self, output, *options, part="train", code=0, **replaced):
        """Runs the tool in this process: (what it says, texts that passed the text tower)."""
        num_texts = 0
        load_model = clip_scorer.load_model

        def counted(folder):
            def count(_, arguments, named):
                nonlocal num_texts
                num_texts += len(named["input_ids"])

            model, tokenizer = load_model(folder)
            model.text_model.register_forward_pre_hook(count, with_kwargs=True)
            return model, tokenizer

        arguments = {"model": self.clip, "vocabulary": "builtin", "shards": self.data / part, "output": output,
                     "cache": self.shared / "cache", **replaced}
        said = io.StringIO()
        with mock.patch.object(clip_scorer, "load_model", counted), contextlib.redirect_stdout(said), \
                contextlib.redirect_stderr(said):
            command = [f"--{name}={value}" for name, value in arguments.items()]
            ended = score_words.main([*command, *options])
        if ended != code:
            raise AssertionError(f"exit code {ended}\n{said.getvalue()}")
        return said.getvalue(), num_texts


def bilinear_weights(size, length):
    """[size, length]: what each old pixel gives to a new one, without aligned corners."""
    weights = np.zeros((size, length))
    for new in range(size):
        place = max((new + 0.5) * length / size - 0.5, 0.0)
        low = int(place)
        weights[new, low] += 1 - (place - low)
        weights[new, min(low + 1, length - 1)] += place - low
    return weights


def bilinear(image, size):
    """image: [rows, columns], float64."""
    return bilinear_weights(size, image.shape[0]) @ image @ bilinear_weights(size, image.shape[1]).T


class Tool(WordScoresTestCase):
    def reference_scores(self, image_hu, words, window, mean, std, prompt):
        """Of one image for some words, by the whole CLIPModel at once, before the minimum and maximum are known."""
        model, tokenizer = clip_scorer.load_model(self.clip)
        grey = bilinear(np.clip((image_hu.astype(float) - window[0]) / (window[1] - window[0]), 0, 1), 32)
        pixels = torch.tensor(np.stack([(grey - m) / s for m, s in zip(mean, std)])[None], dtype=torch.float32)
        with torch.no_grad():
            result = model(**tokenizer([prompt.replace("{}", word) for word in words], padding=True, truncation=True,
                                       max_length=24, return_tensors="pt"), pixel_values=pixels)
        return (result.logits_per_image / model.logit_scale.detach().exp())[0].numpy()

    def words_and_images(self):
        with h5py.File(score_words.BUILTIN) as file:
            words = [word.decode() for word in file["words"][:]]
        with h5py.File(min((self.data / "train").glob("*.h5"))) as shard:
            return words, [(shard["patient"][row].decode(), shard["position_mm"][row], shard["normal_dose"][row])
                           for row in (0, 3)]

    def test_scores_are_those_of_the_model(self):
        words, images = self.words_and_images()
        for name, options, settings in (
            ("default", [], ((-160, 240), score_words.CLIP_MEAN, score_words.CLIP_STD, "A CT of {}")),
            ("other", ["--window", "-1000", "2000", "--mean", "0", "0", "0", "--std", "1", "1", "1",
                       "--prompt={}, a bone", "--lowest-score=0.6"], ((-1000, 2000), (0,) * 3, (1,) * 3, "{}, a bone")),
        ):
            self.score_slices(self.folder / f"{name}.h5", *options)
            with h5py.File(self.folder / f"{name}.h5") as file:
                lowest = file.attrs["lowest_score"]
                for patient, position, image in images:
                    row = list(zip(file["patient"].asstr()[:], file["position_mm"][:])).index((patient, position))
                    first, end = file["offsets"][row : row + 2]
                    stored = dict(zip(file["tokens"][first:end].tolist(), file["scores"][first:end].tolist()))
                    similar = self.reference_scores(image, words, *settings)
                    expected = (similar - similar.min()) / (similar.max() - similar.min())
                    self.assertGreater(similar.max() - similar.min(), 0.01, "words differ")
                    sure = {token for token, value in enumerate(expected) if value > lowest + 1e-3}
                    possible = {token for token, value in enumerate(expected) if value > lowest - 1e-3}
                    self.assertLessEqual(sure, stored.keys())
                    self.assertLessEqual(stored.keys(), possible)
                    for token, value in stored.items():
                        self.assertAlmostEqual(value, expected[token], delta=1e-3)

    def test_text_tower_passes_once_per_word_whatever_the_number_of_slices(self):
        output, cache = self.folder / "scores.h5", self.folder / "cache"
        said, num_texts = self.score_slices(output, cache=cache)
        self.assertEqual(num_texts, VOCABULARY_SIZE)
        self.assertIn("12 slices (0 finished before)", said)
        self.assertRegex(said, r"slices: 100%")
        # Again, and for more slices: nothing, while the finished ones are kept.
        self.assertEqual(self.score_slices(output, cache=cache)[1], 0)
        said, num_texts = self.score_slices(output, part="validation", cache=cache)
        self.assertEqual(num_texts, 0)
        with h5py.File(output) as file:
            self.assertEqual(len(file["patient"]), 16)
        # Of two prompts, two passes per word; the cache tells them from one.
        many = ["--prompt=A CT of {}", "--prompt={}"]
        self.assertEqual(self.score_slices(self.folder / "many.h5", *many, cache=cache)[1], 2 * VOCABULARY_SIZE)

    def test_features_of_several_prompts_are_their_mean(self):
        scorer = clip_scorer.ClipScorer(self.clip, [-160, 240], [0, 0, 0], [1, 1, 1], "cpu")
        words, prompts = ["bone", "lung", "air"], ["A CT of {}", "{} of a"]
        one, other = (scorer.prompt_features([prompt.replace("{}", word) for word in words]) for prompt in prompts)
        mean = (one + other) / 2
        expected = mean / mean.square().sum(1, keepdim=True).sqrt()
        found = scorer.word_features(words, prompts, batch=2)
        self.assertTrue(torch.allclose(found, expected, atol=1e-6))
        self.assertFalse(torch.allclose(found, one, atol=1e-2))

    def test_scores_of_equal_similarities_are_1(self):
        scores = clip_scorer.normalised_scores(torch.tensor([[0.5, 0.5, 0.5], [0.25, 0.75, 0.5]]))
        self.assertEqual(scores.tolist(), [[1, 1, 1], [0, 1, 0.5]])

    def test_marks_and_ends_of_words(self):
        self.assertEqual([score_words.spoken(word) for word in ("bone</w>", "bone", "</w>")], ["bone", "bone", "</w>"])
        vocabulary = self.folder / "marks.h5"
        with h5py.File(vocabulary, "w") as file:
            file.create_dataset("words", data=["<|startoftext|>", "bone</w>", "lung</w>", "<|endoftext|>", "<row 4>"])
            file.attrs["hash"] = "0123456789abcdef"
        self.score_slices(self.folder / "scores.h5", "--lowest-score=0.000001", vocabulary=vocabulary)
        with h5py.File(self.folder / "scores.h5") as file:
            self.assertLessEqual(set(file["tokens"][:].tolist()), {1, 2})
            self.assertEqual(file.attrs["vocabulary_hash"].decode(), "0123456789abcdef")

    def test_what_is_finished_outlives_a_kill(self):
        output = self.folder / "scores.h5"
        arguments = ["--model", self.clip, "--vocabulary", "builtin", "--shards", self.data / "train", "--batch", "2",
                     "--output", output, "--cache", self.shared / "cache"]
        # Killed as it begins with the fourth batch.
        killer = (f"import os, signal, sys; sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
                  "import clip_scorer, score_words\n"
                  "plain, calls = clip_scorer.ClipScorer.image_features, []\n"
                  "def deadly(self, images):\n"
                  "    calls.append(1)\n"
                  "    return plain(self, images) if len(calls) < 4 else os.kill(os.getpid(), signal.SIGKILL)\n"
                  "clip_scorer.ClipScorer.image_features = deadly\n"
                  "score_words.main(sys.argv[1:])\n")
        ended = subprocess.run([sys.executable, "-c", killer, *map(str, arguments)], capture_output=True, timeout=120,
                               env={**os.environ, "OMP_NUM_THREADS": "1"})  # as here: threads change the last bits
        self.assertEqual(ended.returncode, -signal.SIGKILL, ended)
        self.assertFalse(output.exists())
        parts = self.folder / ".scores.h5.parts"
        self.assertEqual(len(list(parts.glob("*.npz"))), 3)
        said, num_texts = self.score_slices(output, "--batch=2")
        self.assertIn("12 slices (6 finished before)", said)
        self.assertEqual(num_texts, 0)
        self.assertFalse(parts.exists())
        self.score_slices(self.folder / "whole.h5", "--batch=2")
        self.assertEqual(output.read_bytes(), (self.folder / "whole.h5").read_bytes())

    def test_provenance(self):
        with h5py.File(self.scores) as file:
            facts = {name: value.decode() if isinstance(value, bytes) else value for name, value in file.attrs.items()}
        self.assertEqual(facts["model"], "clip")
        self.assertEqual(facts["licence"], "cc0-1.0")
        self.assertEqual(json.loads(facts["prompts"]), ["A CT of {}"])
        self.assertEqual(list(facts["window_hu"]), [-160, 240])
        self.assertRegex(facts["model_hash"], "^[0-9a-f]{64}$")
        self.assertIn("transformers", facts["creator"])
        self.assertNotIn(str(self.shared), str(facts), "no path of this machine")

    def test_bad_input_ends_with_a_message_and_a_code(self):
        def refused(code, *words, **replaced):
            said, _ = self.score_slices(self.folder / "none.h5", code=code, **replaced)
            for word in (*words, "what to try"):
                self.assertIn(str(word), said)
            self.assertFalse((self.folder / "none.h5").exists())

        bare = shutil.copytree(self.clip, self.folder / "bare")
        (bare / "model.safetensors").unlink()
        refused(11, bare, "holds no weights", model=bare)
        half = shutil.copytree(self.clip, self.folder / "half")
        weights = clip_scorer.safetensors.numpy.load_file(half / "model.safetensors")
        del weights["visual_projection.weight"]
        clip_scorer.safetensors.numpy.save_file(weights, half / "model.safetensors", {"format": "pt"})
        refused(11, half, "not complete", "visual_projection.weight", model=half)
        (half / "model.safetensors").write_bytes(b"damaged")
        refused(11, half, "cannot be read", model=half)
        refused(11, self.folder / "nothing", "no such folder", model=self.folder / "nothing")
        for name, words in (("empty", []), ("gap", ["bone", ""])):
            with h5py.File(self.folder / f"{name}.h5", "w") as file:
                file.create_dataset("words", data=words, dtype=h5py.string_dtype())
                file.attrs["hash"] = "0" * 16
        refused(11, self.folder / "empty.h5", "no words", vocabulary=self.folder / "empty.h5")
        refused(11, self.folder / "gap.h5", "empty words", "row 1", vocabulary=self.folder / "gap.h5")
        refused(11, self.data, "no *.h5 files", shards=self.data)
        refused(11, "no shard", shards=self.clip.parent)  # its own word scores lie there
        said, _ = self.score_slices(self.scores, "--window", "-1000", "2000", code=10)
        self.assertIn("--overwrite", said)
        with self.assertRaises(SystemExit) as ended, contextlib.redirect_stderr(io.StringIO()):
            score_words.main(["--model=a", "--vocabulary=b", "--shards=c", "--output=d", "--prompt=bone"])
        self.assertEqual(ended.exception.code, 10)


class Training(WordScoresTestCase):
    def scored(self, run_folder, scores=None, **options):
        return self.command(run_folder=run_folder, **{
            **REPRODUCIBLE, "run__stages": "pretrain", "words__source": "scores",
            "words__scores": scores or self.scores, "checkpoint__every_num_steps": 2,
            "autoencoder__num_steps": 4, **options})

    def trained(self, name, ranks=None, **options):
        """The bytes of the autoencoder."""
        folder = self.folder / name
        self.assert_ended(run(self.scored(folder, **options), ranks=ranks), 0)
        return (folder / "pretrain" / "autoencoder.safetensors").read_bytes()

    def test_any_number_of_ranks_and_resumed_runs_give_the_same_bits(self):
        for variant in ("false", "true"):
            restricted = {"words__restrict_to_tissue": variant}
            whole = self.trained(f"whole_{variant}", **restricted)
            self.assertEqual(self.trained(f"two_{variant}", ranks=2, **restricted), whole)
            self.trained(f"halves_{variant}", autoencoder__num_steps=2, **restricted)
            elsewhere = shutil.copy(self.scores, self.folder / f"elsewhere_{variant}.h5")
            self.assertEqual(self.trained(f"halves_{variant}", scores=elsewhere, **restricted), whole)

    def test_the_source_of_candidates_matters(self):
        variants = {self.trained("image"), self.trained("tissue", words__source="tissue"),
                    self.trained("both", words__restrict_to_tissue="true")}
        self.assertEqual(len(variants), 3)

    def test_scores_that_changed_are_not_those_of_the_checkpoint(self):
        folder = self.folder / "run"
        self.trained("run")
        other = self.folder / "other.h5"
        shutil.copy(self.scores, other)
        with h5py.File(other, "r+") as file:  # another word is the best of the first slice
            file["tokens"][0] = next(token for token in range(VOCABULARY_SIZE) if token not in file["tokens"][:])
        ended = run(self.scored(folder, scores=other, autoencoder__num_steps=6))
        self.assert_refused(ended, 11, folder / "pretrain" / "checkpoints", "word scores")

    def test_scores_that_do_not_fit_are_refused_on_all_ranks(self):
        folder = self.folder / "run"

        def refused(code, *words, ranks=(None, 2), **options):
            for number in ranks:
                self.assert_refused(run(self.scored(folder, **options), ranks=number), code, *words)
                self.assertEqual(checkpoints(folder / "pretrain"), [])

        validation = self.folder / "validation.h5"
        self.score_slices(validation, part="validation")
        with h5py.File(min((self.data / "train").glob("*.h5"))) as shard:
            first = f"patient {shard['patient'][0].decode()}, series {shard['series'][0].decode()}, position 0 mm"
        refused(11, validation, "not among its slices", first, scores=validation)
        others = self.folder / "others"  # of the same names, other images
        self.assert_ended(run([DATA, "phantom", *as_arguments({
            "data.output": others, "data.num_patients": 3, "data.slices_per_patient": 4, "data.size": 64,
            "data.seed": 2})]), 0)
        self.score_slices(self.folder / "others.h5", shards=others)
        refused(11, self.folder / "others.h5", "another image", first, scores=self.folder / "others.h5", ranks=(None,))
        refused(11, self.folder / "none.h5", "no such file", scores=self.folder / "none.h5", ranks=(None,))
        refused(10, "words.thresholds", "--lowest-score", words__thresholds="0.9,0.8,0.5")
        refused(10, "words.restrict_to_tissue", words__restrict_to_tissue="true", words__source="tissue", ranks=(None,))
        empty = [argument for argument in self.scored(folder) if not re.match("--words.scores", argument)]
        self.assert_refused(run(empty), 10, "words.scores", "score_words.py")
        dry = run([*self.scored(folder, scores=validation), "--dry-run"])
        self.assert_refused(dry, 11, validation, first)


if __name__ == "__main__":
    unittest.main(verbosity=2)
