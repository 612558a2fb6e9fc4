"""Reads with h5py a shard made by tests/data/tiny_shards.hpp, or damages one."""
import sys

import h5py
import numpy as np


def check(path, first, count):
    index = np.arange(first, first + count).reshape(-1, 1, 1)
    row = np.arange(6).reshape(1, -1, 1)
    column = np.arange(8).reshape(1, 1, -1)
    normal = (31 * index + 7 * row + 3 * column) % 4000 - 1000
    expected = {
        "normal_dose": ("<i2", normal),
        "low_dose": ("<i2", normal + 5 * ((row + column) % 3)),
        "tissue": ("u1", (row + column + index) % 8),
        "noise_free": ("<i2", normal - 1),
    }
    with h5py.File(path) as file:
        for name, (dtype, values) in expected.items():
            data = file[name]
            assert data.dtype == np.dtype(dtype) and np.array_equal(data[:], values), name
            assert data.chunks == (1, 6, 8) and data.shuffle and data.compression == "gzip" and data.compression_opts == 4
            assert file[name + "_checksum"].dtype == np.uint64 and file[name + "_checksum"].shape == (count,)
        assert np.array_equal(file["spacing_mm"][:], np.tile([0.5, 0.75, 2.0], (count, 1)))
        assert np.array_equal(file["position_mm"][:], 2.0 * np.arange(first, first + count))
        assert np.array_equal(file["dose_fraction"][:], np.full(count, 0.25))
        assert list(file["patient"][:]) == [b"p1"] * count and list(file["series"][:]) == [b"s1"] * count
        text = {name: value.decode() if isinstance(value, bytes) else value for name, value in file.attrs.items()}
        assert text["format"] == "leda shard" and text["version"] == 1 and text["creator"] == "a test"
        assert len(text["content_checksum"]) == 16


def replaced(file, name, values):
    del file[name]
    file[name] = values


def damage(path, what):
    with h5py.File(path, "r+") as file:
        kind, _, name = what.partition("=")
        if kind == "version":
            file.attrs.modify("version", int(name))
        elif kind == "format":
            file.attrs["format"] = name
        elif kind == "delete":
            del file[name]
        elif kind == "delete_attribute":
            del file.attrs[name]
        elif kind == "shorten":
            replaced(file, name, file[name][:-1])
        elif kind == "as_float":
            values = file[name][:].astype(np.float32)
            del file[name]
            file.create_dataset(name, data=values, chunks=(1,) + values.shape[1:])
        elif kind == "crop":
            values = file[name][:, :-1]
            del file[name]
            file.create_dataset(name, data=values, chunks=(1,) + values.shape[1:])
        elif kind == "contiguous":
            replaced(file, name, file[name][:])
        elif kind == "edit":
            values = file[name][:]
            values[0] = values[0] * 2
            file[name][:] = values
        elif kind == "negative":
            values = file[name][:]
            values[0] = -1
            file[name][:] = values
        else:
            raise ValueError(what)


if sys.argv[1] == "check":
    check(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
else:
    damage(sys.argv[2], sys.argv[3])
