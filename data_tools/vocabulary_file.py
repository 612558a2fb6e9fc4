"""Vocabulary files (docs/formats/vocabulary.md): words and their embeddings, written and read."""

import itertools
import os

import h5py
import numpy as np
import xxhash

FORMAT = "leda-vocabulary"
VERSION = 2  # version 1 is read, too


def vocabulary_hash(words, embeddings, version=VERSION):
    """Of the words, each with a newline, and of the embeddings as little-endian float32: XXH3, 64 bit; of version 1
    FNV-1a, 64 bit, byte by byte."""
    parts = ["".join(word + "\n" for word in words).encode("utf-8")]
    # Row blocks: a large table is not copied as a whole.
    blocks = (np.ascontiguousarray(embeddings[row : row + 4096], "<f4").tobytes()
              for row in range(0, len(embeddings), 4096))
    if version != 1:
        total = xxhash.xxh3_64()
        for part in itertools.chain(parts, blocks):
            total.update(part)
        return total.hexdigest()
    value = 0xCBF29CE484222325
    for part in itertools.chain(parts, blocks):
        for byte in part:
            value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def check_vocabulary(words, embeddings):
    """Throws ValueError, naming word and row, for what no reader of the format takes."""
    if embeddings.ndim != 2 or embeddings.shape[1] == 0:
        raise ValueError(f"the embeddings are {embeddings.shape}, not [words, channels]")
    if not words:
        raise ValueError("there are no words")
    if len(words) != len(embeddings):
        raise ValueError(f"{len(words)} words for {len(embeddings)} embeddings")
    rows = {}
    for row, word in enumerate(words):
        if not word:
            raise ValueError(f"word {row} is empty")
        if word in rows:
            raise ValueError(f"word {row}, '{word}', is word {rows[word]} again")
        rows[word] = row
    bad = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(bad):
        raise ValueError(f"the embedding of word {bad[0]}, '{words[bad[0]]}', has a NaN or infinity")


def write_vocabulary(path, words, embeddings, *, source, licence, dtype="<f4", provenance=None, token_ids=None,
                     version=VERSION):
    """The same content gives the same bytes with the same h5py. Whole or not at all; writes over what is there.
    `provenance`: further attributes, texts. `token_ids`: the words' rows in the model's table, where that is known.
    Returns the hash. Throws ValueError as check_vocabulary does."""
    with np.errstate(over="ignore"):
        stored = np.asarray(embeddings).astype(dtype, copy=False)
    check_vocabulary(words, stored)
    encoded = [word.encode("utf-8") for word in words]
    text = h5py.string_dtype("utf-8", max(len(word) for word in encoded))
    attributes = {"format": FORMAT, "source": source, "licence": licence, "hash": vocabulary_hash(words, stored, version),
                  **(provenance or {})}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with h5py.File(temporary, "w", track_order=False) as file:
            file.create_dataset("words", data=np.array(encoded, dtype=text), dtype=text, track_times=False)
            file.create_dataset("embeddings", data=stored, track_times=False)
            if token_ids is not None:
                file.create_dataset("token_ids", data=np.asarray(token_ids, "<i8"), track_times=False)
            file.attrs.create("version", version, dtype="<i8")
            for name, value in attributes.items():
                data = value.encode("utf-8")
                file.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", max(len(data), 1)))
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return attributes["hash"]


def read_vocabulary(path):
    """Words, embeddings as stored, attributes as texts. Throws ValueError for another format and for a hash that does
    not fit."""
    as_text = lambda value: value.decode("utf-8") if isinstance(value, bytes) else str(value)
    with h5py.File(path, "r") as file:
        attributes = {name: as_text(value) for name, value in file.attrs.items()}
        if attributes.get("format") != FORMAT or attributes.get("version") not in ("1", str(VERSION)):
            raise ValueError(f"{path} is no vocabulary file of version 1 or {VERSION}")
        words = [as_text(word) for word in file["words"][:]]
        embeddings = file["embeddings"][:]
    check_vocabulary(words, embeddings)
    if attributes.get("hash") != vocabulary_hash(words, embeddings, int(attributes["version"])):
        raise ValueError(f"{path}: its hash is not that of its words and embeddings")
    return words, embeddings, attributes
