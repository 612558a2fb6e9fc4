"""Exports the vocabulary of each small model into FOLDER/NAME.h5 and writes beside it what it must hold: the words in
NAME.txt, their rows in NAME.safetensors, `rows` and the largest permitted deviation of each value, `tolerance`.

usage: python exported_vocabularies.py FOLDER
"""

import pathlib
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "tests" / "support"), str(REPOSITORY / "data_tools")]

import gguf  # noqa: E402
import numpy as np  # noqa: E402
import safetensors.numpy  # noqa: E402
import small_models  # noqa: E402

import export_vocabulary  # noqa: E402

folder = pathlib.Path(sys.argv[1])
Q = gguf.GGMLQuantizationType


def export(name: str, model: pathlib.Path, options: str, words: list[str], rows: np.ndarray,
           tolerance: np.ndarray | float = 0.0) -> None:
    sys.argv = ["export_vocabulary.py", str(model), "--output", str(folder / f"{name}.h5"), *options.split()]
    if export_vocabulary.export() != 0:
        sys.exit(f"{name} was not exported")
    (folder / f"{name}.txt").write_text("".join(word + "\n" for word in words), encoding="utf-8")
    expected = {"rows": np.ascontiguousarray(rows, np.float32),
                "tolerance": np.ascontiguousarray(np.broadcast_to(np.float32(tolerance), rows.shape))}
    safetensors.numpy.save_file(expected, folder / f"{name}.safetensors")


def is_ordinary(word: str) -> bool:
    return len(word) >= 4 and word.isascii() and word.isalpha()


def block_steps(table: np.ndarray, levels: float) -> np.ndarray:
    """The step of a quantiser that divides the largest magnitude of each 32 values into `levels`, for every value."""
    largest = np.abs(table.reshape(len(table), -1, 32)).max(axis=2)
    return np.repeat(largest / levels, 32, axis=1)


# The real sentence model, in the folder it comes in.
words, table = small_models.minilm()
ids = [row for row, word in enumerate(words) if is_ordinary(word)][:3000]
ordinary = "--pattern [A-Za-z]+ --minimum-letters 4"
export("minilm", small_models.MINILM, ordinary + " --limit 3000", [words[row] for row in ids], table[ids])

# The same table as GGUF, words as GGUF spells those of BERT-type models.
rows = small_models.MINILM_ROWS
spelled = [words[row].removeprefix("##") if words[row].startswith(("##", "[")) else "▁" + words[row] for row in rows]
types = [3 if words[row].startswith("[") else 1 for row in rows]
ids = [row for row in rows if is_ordinary(words[row])]
for name, kind, tolerance in [
    ("gguf_f32", Q.F32, 0.0),
    ("gguf_f16", Q.F16, np.maximum(np.abs(table[ids]) * 2.0**-11, 2.0**-25)),  # the second: numbers below 2^-14
    # Half a step, and what rounding the step to float16 adds at the last of the levels.
    ("gguf_q8_0", Q.Q8_0, block_steps(table[ids], 127) * (0.5 + 127 * 2.0**-11)),
    ("gguf_q4_0", Q.Q4_0, block_steps(table[ids], 8) * (1.0 + 8 * 2.0**-11)),
]:
    path = folder / f"{name}.gguf"
    small_models.write_gguf(path, spelled, types, table[rows], kind, "bert")
    export(name, path, ordinary, [words[row] for row in ids], table[ids], tolerance)

# Words of a list, in its order; "hepatomegaly" is no single token.
(folder / "list.txt").write_text("blood\n\nhepatomegaly\nwith\nWater\n", encoding="utf-8")
named = ["blood", "with", "water"]
export("word_list", small_models.MINILM, f"--list {folder / 'list.txt'} --lower-case", named,
       table[[words.index(word) for word in named]])

# CLIP, in both kinds of files; the marks of its tokens are gone, its bytes are characters again.
for name, as_safetensors in [("clip", True), ("clip_bin", False)]:
    clip = small_models.write_clip(folder / name, as_safetensors)
    export(name, folder / name, "--licence MIT", ["lung", "bone", "air", "café"],
           clip[[514, 517, 519, 523]])
alphabet = small_models.byte_alphabet()
pieces = ["lu", "lun", "lung", "bo", "bon", "bone", "ai", "air", "ca", "caf", "café"]
export("clip_pieces", folder / "clip", "--words pieces --pattern [^\\W\\d_]+ --licence MIT", pieces,
       clip[[512, 513, 514, 515, 516, 517, 518, 519, 521, 522, 523]])
# Every row as it is, for weights whose tokens are the model's own numbers.
merged = ["lu", "lun", "lung</w>", "bo", "bon", "bone</w>", "ai", "air</w>", "Ã©</w>", "ca", "caf", "cafÃ©</w>"]
export("clip_tokens", folder / "clip", "--words all --licence MIT",
       alphabet + [character + "</w>" for character in alphabet] + merged + ["<|startoftext|>", "<|endoftext|>"], clip)

# A decoder over several files, bfloat16, SentencePiece marks, bytes, padding; of "Lung" and "lung" the first.
llama = small_models.write_llama(folder / "llama")
tokens = small_models.LLAMA_TOKENS
rows = [*map(tokens.index, ["▁Lung", "▁air", "▁x", "▁fat"]), len(tokens) + 1]
export("llama", folder / "llama", "--lower-case --minimum-letters 1 --pattern [^\\W\\d_]+ --licence none",
       ["lung", "air", "x", "fat", "spleen"], llama[rows])

# A decoder as GGUF with byte-level marks.
spelled = [*alphabet, "Ġlung", "lung", "Ġb", "Ġcaf", "ĠcafÃ©", "Ġair", "<|im_start|>", "Ġsecret", "Ġunfinished"]
table = np.random.default_rng(5).normal(size=(len(spelled), 64)).astype(np.float32)
types = [1] * (len(spelled) - 3) + [3, 3, 5]
small_models.write_gguf(folder / "byte_level.gguf", spelled, types, table, Q.F32, "gpt2")
export("byte_level", folder / "byte_level.gguf", "--pattern [^\\W\\d_]+", ["lung", "caf", "café", "air"],
       table[[256, 259, 260, 261]])
