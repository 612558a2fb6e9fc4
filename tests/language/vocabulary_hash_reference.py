"""Prints the hash of a vocabulary file, computed from docs/formats/vocabulary.md alone."""

import sys

import h5py

with h5py.File(sys.argv[1], "r") as file:
    content = b"".join(word + b"\n" for word in file["words"][:]) + file["embeddings"][:].astype("<f4").tobytes()
value = 14695981039346656037
for byte in content:
    value = (value ^ byte) * 1099511628211 % 2**64
print(f"{value:016x}")
