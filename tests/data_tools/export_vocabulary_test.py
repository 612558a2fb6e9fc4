"""data_tools/export_vocabulary.py: how marks are read, which of several rows a word gets, and each refusal. What it
makes of each kind of model is read back in tests/language/export_vocabulary_test.cpp.

usage: python export_vocabulary_test.py
"""

import json
import pathlib
import re
import subprocess
import sys
import unittest

import gguf
import h5py
import numpy as np
import safetensors.numpy
import torch

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "tests" / "support"), str(REPOSITORY / "data_tools")]

import export_vocabulary  # noqa: E402
import small_models  # noqa: E402
import tissue_terms  # noqa: E402
import token_spelling  # noqa: E402
import vocabulary_file  # noqa: E402
from token_spelling import BLANK, BYTE, PIECE, SPECIAL, UNUSED, WHOLE, read_token  # noqa: E402
from tool_case import ToolCase  # noqa: E402

TABLE = "bert.embeddings.word_embeddings.weight"
F32 = gguf.GGMLQuantizationType.F32


def table_of(rows: int, channels: int = 4) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(rows, channels)).astype(np.float32)


class Spelling(unittest.TestCase):
    def test_marks_and_kinds(self):
        for token, marking, is_byte_level, expected in [
            ("lung</w>", "end_of_word", True, (WHOLE, "lung")),
            ("lun", "end_of_word", True, (PIECE, "lun")),
            ("cafÃ©</w>", "end_of_word", True, (WHOLE, "café")),
            ("café</w>", "end_of_word", False, (WHOLE, "café")),
            ("Ã", "end_of_word", True, (BYTE, "Ã")),
            ("##ing", "word_piece", False, (PIECE, "ing")),
            ("##", "word_piece", False, (WHOLE, "##")),
            ("[CLS]", "word_piece", False, (SPECIAL, "[CLS]")),
            ("[unused7]", "word_piece", False, (UNUSED, "[unused7]")),
            ("▁lung", "space_mark", False, (WHOLE, "lung")),
            ("ung", "space_mark", False, (PIECE, "ung")),
            ("▁▁", "space_mark", False, (BLANK, " ")),
            ("▁two▁words", "space_mark", False, (BLANK, "two words")),
            ("<0x0A>", "space_mark", False, (BYTE, "<0x0A>")),
            ("Ġlung", "byte_level", True, (WHOLE, "lung")),
            ("Ċ", "byte_level", True, (BLANK, "\n")),
            ("<|endoftext|>", "byte_level", True, (SPECIAL, "<|endoftext|>")),
            ("spleen", "plain", False, (WHOLE, "spleen")),
        ]:
            with self.subTest(token=token, marking=marking):
                self.assertEqual(read_token(token, marking, is_byte_level), expected)

    def test_bytes_are_the_librarys(self):
        self.assertEqual(sorted(token_spelling.byte_characters()), small_models.byte_alphabet())
        self.assertEqual(sorted(token_spelling.byte_characters().values()), list(range(256)))

    def test_single_marks_do_not_make_a_marking(self):
        words = [f"word{number}" for number in range(100)]
        self.assertEqual(token_spelling.marking_of([*words, "##", "▁", "Ġ", "a</w>"])[0], "plain")
        self.assertEqual(token_spelling.marking_of([*words, "##ing", "##less", "##ed"])[0], "word_piece")


class TissueTerms(unittest.TestCase):
    def test_are_those_of_the_program(self):
        source = (REPOSITORY / "src" / "language" / "tissue_words.cpp").read_text()
        lists = re.findall(r"string_view k\w+\[\] = \{(.*?)\};", source, re.DOTALL)
        self.assertEqual([re.findall(r'"(\w+)"', terms) for terms in lists],
                         [terms.split() for terms in tissue_terms.TISSUE_TERMS.values()])


class Export(ToolCase):
    def setUp(self):
        super().setUp()
        self.output = self.folder / "words.h5"
        self.words = ["[PAD]", "Lung", "lung", "##ung", "fat", "##fat", "##ss", "a1", "bone", "##ed"]

    def model(self, words=None, table=None, name=TABLE, licence="mit"):
        """A BERT-type folder; returns its path."""
        folder = self.folder / "model"
        folder.mkdir(exist_ok=True)
        words = self.words if words is None else words
        (folder / "vocab.txt").write_text("".join(word + "\n" for word in words), encoding="utf-8")
        (folder / "README.md").write_text(f"---\nlicense: {licence}\n---\n\n# Small words\n" if licence else "# Small words\n")
        table = table_of(len(words)) if table is None else table
        safetensors.numpy.save_file({name: table, "pooler.bias": np.zeros(4, np.float32)}, folder / "model.safetensors")
        return folder

    def export(self, model, *options):
        """Exports and returns what was printed."""
        return self.succeed(export_vocabulary, model, "--output", self.output, *options)

    def exported_words(self):
        with h5py.File(self.output) as file:
            return [word.decode() for word in file["words"][:]], file["token_ids"][:].tolist()

    def refused(self, exit_code, part, model, *options):
        """Exports in vain; the message must hold `part`."""
        said = self.refuse(export_vocabulary, model, "--output", self.output, *options, code=exit_code)
        self.assertIn(part, said)
        self.assertIn("what to try", said)
        self.assertEqual([path.name for path in self.folder.glob("*words.h5*")], [])

    def test_of_several_rows_a_word_gets_the_first(self):
        report = self.export(self.model(), "--lower-case")
        self.assertEqual(self.exported_words(), (["lung", "fat", "bone"], [1, 4, 8]))
        self.assertIn("1 the same word as another row", report)
        self.assertIn("1 fewer than 2 letters", report)
        report = self.export(self.model(["lung", "fat", "lung", "##s"]), "--force")  # a damaged list of words
        self.assertEqual(self.exported_words(), (["lung", "fat"], [0, 1]))
        self.assertIn("1 the same word as another row", report)

    def test_pieces_keep_their_marks_or_give_way_to_whole_words(self):
        self.export(self.model(), "--words", "pieces", "--pattern", "[#a-z]+")
        words = ["lung", "##ung", "fat", "##fat", "##ss", "bone", "##ed"]
        self.assertEqual(self.exported_words(), (words, [2, 3, 4, 5, 6, 8, 9]))
        path = self.folder / "model.gguf"  # where whole words carry the mark
        small_models.write_gguf(path, ["lung", "▁lung", "ung", "▁fat", "fat"], [1] * 5, table_of(5, 32), F32, "llama")
        self.export(path, "--words", "pieces", "--force")
        self.assertEqual(self.exported_words(), (["lung", "ung", "fat"], [1, 2, 3]))

    def test_all_keeps_every_row(self):
        self.export(self.model(["[PAD]", "lung", "", "##s", "lung", "\x07", "fat"]), "--words", "all")
        words = ["[PAD]", "lung", "<row 2>", "##s", "lung <row 4>", "\\x07", "fat"]
        self.assertEqual(self.exported_words(), (words, list(range(7))))

    def test_a_token_that_is_a_line_separator_shifts_no_row(self):
        self.export(self.model(["\u2028", "lung", "\u0085", "fat"]))
        self.assertEqual(self.exported_words(), (["lung", "fat"], [1, 3]))

    def test_tissue_terms_come_first_whatever_their_length(self):
        self.export(self.model(["zebra", "of", "fat", "outside", "##s"]), "--minimum-letters", "4", "--limit", "3",
                    "--tissue-terms-first")
        self.assertEqual(self.exported_words(), (["outside", "fat", "zebra"], [3, 2, 0]))

    def test_file_says_where_it_comes_from(self):
        self.export(self.model(), "--pattern", "[a-z]+")
        with h5py.File(self.output) as file:
            said = {name: value.decode() for name, value in file.attrs.items() if name != "version"}
        self.assertEqual((said["licence"], said["source"]), ("mit", f"Small words, {TABLE}"))
        self.assertEqual((said["tensor_type"], said["marking"], said["tokens"]), ("F32", "word_piece", "vocab.txt"))
        self.assertIn("pattern [a-z]+", said["selection"])
        self.assertEqual(len(said["model_sha256"]), 64)
        self.export(self.model(licence=None), "--force", "--licence", "BSD", "--source", "my words")
        with h5py.File(self.output) as file:
            self.assertEqual((file.attrs["licence"], file.attrs["source"]), (b"BSD", b"my words"))

    def test_float16_is_stored_as_such(self):
        table = table_of(len(self.words))
        self.export(self.model(table=table), "--dtype", "f2")
        with h5py.File(self.output) as file:
            self.assertEqual(file["embeddings"].dtype, np.float16)
            np.testing.assert_array_equal(file["embeddings"][:], table.astype(np.float16)[file["token_ids"][:]])

    def test_model_without_weights_or_tokenizer_or_at_all(self):
        model = self.model()
        (model / "vocab.txt").rename(model / "other.txt")
        self.refused(11, "no tokenizer", model)
        (model / "other.txt").rename(model / "vocab.txt")
        (model / "model.safetensors").unlink()
        self.refused(11, "no weights", model)
        self.refused(11, "does not exist", self.folder / "nowhere")

    def test_fewer_rows_than_tokens(self):
        self.refused(11, "5 rows, 10 tokens", self.model(table=table_of(5)))

    def test_embedding_that_is_not_finite(self):
        table = table_of(len(self.words))
        table[8, 2] = np.nan
        self.refused(11, "'bone', has a NaN or infinity", self.model(table=table))
        table[8, 2] = 1e5  # beyond float16
        self.refused(11, "'bone', has a NaN or infinity", self.model(table=table), "--dtype", "f2")
        table[8, 2], table[0, 0] = 0.1, np.nan  # in the row of a mark, which is not taken
        self.export(self.model(table=table))

    def test_empty_vocabulary(self):
        self.refused(11, "no word of", self.model(), "--minimum-letters", "40")
        (self.folder / "list.txt").write_text("zebra\n")
        self.refused(11, "no word of", self.model(), "--list", str(self.folder / "list.txt"))

    def test_word_list(self):
        path = self.folder / "list.txt"
        path.write_text("bone\nzebra\n\nfat\n")
        report = self.export(self.model(), "--list", path)
        self.assertEqual(self.exported_words(), (["bone", "fat"], [8, 4]))
        self.assertIn("zebra", report)
        self.output.unlink()
        path.write_text("bone\nfat\nbone\n")
        self.refused(11, "names words twice: bone", self.model(), "--list", path)
        self.refused(11, "cannot be read", self.model(), "--list", str(self.folder / "nowhere.txt"))

    def test_table_that_is_not_found(self):
        model = self.model(name="strange.weight")
        self.refused(11, "strange.weight", model)
        self.export(model, "--tensor", "strange.weight")
        self.output.unlink()
        self.refused(10, "missing.weight", model, "--tensor", "missing.weight")
        self.refused(11, "no table", model, "--tensor", "pooler.bias")
        table = table_of(len(self.words))
        safetensors.numpy.save_file({"a.wte.weight": table, "b.wte.weight": table}, model / "model.safetensors")
        self.refused(10, "a.wte.weight, b.wte.weight", model)

    def test_integers_are_no_embeddings(self):
        self.refused(11, "I8", self.model(table=table_of(len(self.words)).astype(np.int8)))

    def test_licence_must_be_known(self):
        for licence in (None, "unknown", "other"):
            self.refused(10, "--licence", self.model(licence=licence))

    def test_licence_is_the_cards_or_the_metadatas(self):
        for card, expected in (("apache-2.0", b"apache-2.0"), ("[mit, bsd]", b"mit, bsd"),
                               ("other\nlicense_name: llama3", b"llama3")):
            self.export(self.model(licence=card), "--force")
            with h5py.File(self.output) as file:
                self.assertEqual(file.attrs["licence"], expected)
        folder = self.folder / "gguf"  # a folder with one GGUF file is that file
        folder.mkdir()
        small_models.write_gguf(folder / "m.gguf", ["▁lung", "▁fat"], [1, 1], table_of(2, 32), F32, "llama", licence="gemma")
        self.export(folder, "--force")
        with h5py.File(self.output) as file:
            self.assertEqual((file.attrs["licence"], file.attrs["architecture"]), (b"gemma", b"llama"))

    def test_sentencepiece_model(self):
        from transformers.utils import sentencepiece_model_pb2_new as sentencepiece

        pieces = sentencepiece.ModelProto()
        kind = sentencepiece.ModelProto.SentencePiece
        for piece, of_kind in (("<unk>", kind.UNKNOWN), ("<begin>", kind.CONTROL), ("<0x0A>", kind.BYTE),
                               ("▁lung", kind.NORMAL), ("ung", kind.NORMAL), ("▁fat", kind.NORMAL)):
            pieces.pieces.add(piece=piece, type=of_kind)
        model = self.model(["x"], table_of(6))
        (model / "vocab.txt").unlink()
        (model / "tokenizer.model").write_bytes(pieces.SerializeToString())
        self.export(model)
        self.assertEqual(self.exported_words(), (["lung", "fat"], [3, 5]))
        self.output.unlink()
        for content in (b"IQ== 0\nIg== 1\n", b"\xff\xff\xff", b""):  # the first: words of another kind of tokenizer
            (model / "tokenizer.model").write_bytes(content)
            self.refused(11, "no SentencePiece model", model)

    def test_damaged_files(self):
        model = self.model()
        content = (model / "model.safetensors").read_bytes()
        (model / "model.safetensors").write_bytes(content[:40])
        self.refused(11, "no safetensors file", model)
        (model / "model.safetensors").write_bytes(content)
        (model / "tokenizer.json").write_text("{")
        self.refused(11, "cannot be read", model)
        (model / "tokenizer.json").write_text("{}")
        self.refused(11, "no vocabulary", model)
        (model / "tokenizer.json").unlink()
        index = {"weight_map": {TABLE: "part-2.safetensors", "other": "model.safetensors"}}
        (model / "model.safetensors.index.json").write_text(json.dumps(index))
        self.refused(11, "part-2.safetensors", model)
        (model / "model.safetensors.index.json").write_text("[]")
        self.refused(11, "no index", model)

    def test_pytorch_file_runs_nothing_that_it_carries(self):
        model = self.model()
        (model / "model.safetensors").unlink()
        weights, mark, table = model / "pytorch_model.bin", self.folder / "run", torch.from_numpy(table_of(len(self.words)))

        class Trap:
            def __reduce__(self):
                return pathlib.Path.touch, (mark,)

        for content in ({TABLE: table, "trap": Trap()}, {"state_dict": {TABLE: table}, "epoch": Trap()}):
            for is_zip in (True, False):  # PyTorch's format, and the one before 1.6
                torch.save(content, weights, _use_new_zipfile_serialization=is_zip)
                self.export(model, "--force")
                with h5py.File(self.output) as file:
                    np.testing.assert_array_equal(file["embeddings"][:], table.numpy()[file["token_ids"][:]])
        self.assertFalse(mark.exists())
        self.output.unlink()
        for content in (b"no model", b""):
            weights.write_bytes(content)
            self.refused(11, "cannot be read", model)
        torch.save(torch.ones(3), weights)
        self.refused(11, "no state dict", model)

    def test_gguf_refusals(self):
        path = self.folder / "model.gguf"
        tokens = ["▁lung", "▁fat", "ung", "</s>"]
        small_models.write_gguf(path, tokens, [1, 1, 1, 3], table_of(4, 32), F32, "llama", licence=None)
        self.refused(10, "--licence", path)
        self.refused(11, "missing.weight", path, "--licence", "MIT", "--tensor", "missing.weight")
        content = path.read_bytes()
        path.write_bytes(content[:200])
        self.refused(11, "no GGUF file", path)
        path.write_bytes(b"GGML" + content[4:])
        self.refused(11, "no GGUF file", path)
        small_models.write_gguf(path, tokens, [1, 1, 1, 3], table_of(3, 32), F32, "llama")
        self.refused(11, "3 rows, 4 tokens", path)
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_tensor("token_embd.weight", table_of(4, 32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        self.refused(11, "no tokenizer", path)

    def test_output_is_never_replaced_unasked_and_always_the_same(self):
        model = self.model()
        self.output.write_text("precious")
        said = self.refuse(export_vocabulary, model, "--output", self.output, code=12)
        self.assertIn("--force", said)
        self.assertEqual(self.output.read_text(), "precious")
        self.export(model, "--force")
        first = self.output.read_bytes()
        self.export(model, "--force")
        self.assertEqual(self.output.read_bytes(), first)
        self.refuse(export_vocabulary, model, "--output", self.folder / "nowhere" / "words.h5", code=12)

    def test_wrong_options(self):
        for wrong in (["--worms"], ["--minimum-letters", "-1"], ["--words", "all", "--limit", "3"], ["--pattern", "["]):
            self.refuse(export_vocabulary, "model", "--output", self.output, *wrong, code=10)

    def test_program_ends_with_its_codes(self):
        tool = [sys.executable, str(REPOSITORY / "data_tools" / "export_vocabulary.py")]
        done = subprocess.run([*tool, str(self.folder / "nowhere"), "--output", "x.h5"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 11)
        self.assertNotIn("Traceback", done.stderr)
        self.assertIn("what to try", done.stderr)


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
