"""Prints the hash of a vocabulary file, computed from docs/formats/vocabulary.md alone."""

import sys

import h5py
import xxhash

with h5py.File(sys.argv[1], "r") as file:
    content = b"".join(word + b"\n" for word in file["words"][:]) + file["embeddings"][:].astype("<f4").tobytes()
    version = int(file.attrs["version"])
if version == 2:
    print(xxhash.xxh3_64_hexdigest(content))
else:
    value = 14695981039346656037
    for byte in content:
        value = (value ^ byte) * 1099511628211 % 2**64
    print(f"{value:016x}")
