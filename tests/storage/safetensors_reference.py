"""Reads and writes safetensors files with the published package, for safetensors_test.cpp.

safetensors_reference.py read FILE SUMMARY: what the package finds in FILE, one line a tensor: name, type, shape, bytes.
safetensors_reference.py write FILE: an archive with known content.
"""
import sys

import numpy
import safetensors
import safetensors.numpy


def summarise(path, summary_path):
    content = open(path, "rb").read()
    with safetensors.safe_open(path, framework="numpy") as archive:
        metadata = archive.metadata() or {}
    lines = [f"metadata {key}={value}" for key, value in sorted(metadata.items())]
    for name, tensor in sorted(safetensors.deserialize(content)):
        shape = "x".join(str(side) for side in tensor["shape"])
        lines.append(f"{name} {tensor['dtype']} [{shape}] {bytes(tensor['data']).hex()}")
    with open(summary_path, "w") as summary:
        summary.write("\n".join(lines) + "\n")


def write(path):
    tensors = {
        "double": numpy.array([[1.5, -2.0], [numpy.inf, 1e300]], dtype=numpy.float64),
        "float": numpy.arange(6, dtype=numpy.float32).reshape(3, 2),
        "half": numpy.array([0.5, -1.0], dtype=numpy.float16),
        "long": numpy.array([-(2**62), 7], dtype=numpy.int64),
        "int": numpy.array([[-5]], dtype=numpy.int32),
        "short": numpy.array([-32768, 32767], dtype=numpy.int16),
        "byte": numpy.array([0, 255, 3], dtype=numpy.uint8),
        "bool": numpy.array([True, False, True]),
        "scalar": numpy.array(2.5, dtype=numpy.float32),
        "empty": numpy.zeros((0, 4), dtype=numpy.float32),
    }
    safetensors.numpy.save_file(tensors, path, metadata={"window": "-160 240"})


if __name__ == "__main__":
    if sys.argv[1] == "read":
        summarise(sys.argv[2], sys.argv[3])
    else:
        write(sys.argv[2])
