"""Reads the checkpoint folder given as argument by what docs/formats/checkpoint.md says, and prints what it finds."""
import json
import os
import re
import sys

import safetensors

folder = sys.argv[1]
manifest = json.load(open(os.path.join(folder, "manifest.json")))
assert manifest["format"] == "leda-checkpoint" and manifest["version"] in (1, 2)
print("step", manifest["step"], "last", manifest["is_last"], "identity", manifest["run_identity"])
parts = {}
for file in manifest["files"]:
    path = os.path.join(folder, file["name"])
    assert os.path.getsize(path) == file["bytes"] and len(file["xxh3_64"]) == 16
    if not path.endswith(".safetensors"):
        continue
    stem = file["name"].removesuffix(".safetensors")
    split = re.fullmatch(r"(.+)-(\d{5})-of-(\d{5})", stem) if manifest["version"] > 1 else None
    name, number, total = (split[1], int(split[2]), int(split[3])) if split else (stem, 1, 1)
    parts.setdefault(name, {})[number] = path
    assert number <= total
for name, paths in sorted(parts.items()):
    assert sorted(paths) == list(range(1, len(paths) + 1))
    tensors = {}
    for number in sorted(paths):
        with safetensors.safe_open(paths[number], framework="numpy") as archive:
            metadata = [f"{key}={value}" for key, value in sorted((archive.metadata() or {}).items())]
            tensors.update({key: archive.get_tensor(key) for key in archive.keys()})
    for key in sorted(tensors):
        print(name, key, tensors[key].tolist(), *metadata)
print("state samples", json.load(open(os.path.join(folder, "state.json")))["samples"])
print("provenance", json.load(open(os.path.join(folder, "provenance.json")))["host"])
