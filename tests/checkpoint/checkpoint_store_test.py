"""Reads the checkpoint folder given as argument by what docs/formats/checkpoint.md says, and prints what it finds."""
import json
import os
import sys

import safetensors

folder = sys.argv[1]
manifest = json.load(open(os.path.join(folder, "manifest.json")))
assert manifest["format"] == "leda-checkpoint" and manifest["version"] == 1
print("step", manifest["step"], "last", manifest["is_last"], "identity", manifest["run_identity"])
for file in sorted(manifest["files"], key=lambda entry: entry["name"]):
    path = os.path.join(folder, file["name"])
    assert os.path.getsize(path) == file["bytes"] and len(file["xxh3_64"]) == 16
    if not path.endswith(".safetensors"):
        continue
    with safetensors.safe_open(path, framework="numpy") as archive:
        metadata = [f"{key}={value}" for key, value in sorted((archive.metadata() or {}).items())]
        for name in sorted(archive.keys()):
            print(file["name"], name, archive.get_tensor(name).tolist(), *metadata)
print("state samples", json.load(open(os.path.join(folder, "state.json")))["samples"])
print("provenance", json.load(open(os.path.join(folder, "provenance.json")))["host"])
