"""Reads with h5py what storage/hdf5_file wrote, and writes with h5py what it must read."""
import sys

import h5py
import numpy as np

TEXTS = ["lung", "Gefäß", "", "long enough to set the width"]


def read(path):
    names = {"Byte": "u1", "Char": "i1", "Short": "<i2", "Int": "<i4", "Long": "<i8", "Half": "<f2", "Float": "<f4", "Double": "<f8"}
    with h5py.File(path) as file:
        for name, dtype in names.items():
            assert file[name].dtype == np.dtype(dtype), name
            assert np.array_equal(file[name][:], np.arange(6).reshape(2, 3)), name
        assert [text.decode() for text in file["texts"][:]] == TEXTS
        source = file.attrs["source"]
        assert (source.decode() if isinstance(source, bytes) else source) == "a model"
        assert file.attrs["version"] == 7 and file.attrs["scale"] == 0.25


def write(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("variable", data=TEXTS, dtype=h5py.string_dtype())
        file.create_dataset("fixed", data=np.array([b"ab", b"c"]))
        file.attrs["variable_text"] = "Gefäß"
        file["uint64"] = np.array([2**64 - 1], dtype=np.uint64)
        file["float16"] = np.array([1.0, 1.0 / 3.0], dtype=np.float16)
        file["big_endian"] = np.array([258], dtype=">i2")
        chunked = file.create_dataset("chunked", shape=(3, 4, 4), dtype="<i2", chunks=(1, 4, 4), shuffle=True, compression=4)
        chunked[:] = np.arange(48).reshape(3, 4, 4)
        chunked.id.write_direct_chunk((1, 0, 0), np.arange(16, dtype="<i2").tobytes(), filter_mask=0b11)
    with h5py.File(path, "r+") as file:
        index = [file["chunked"].id.get_chunk_info(i) for i in range(3)]
        file["chunked_index"] = np.array([[i.byte_offset, i.size, i.filter_mask] for i in index], dtype=np.int64)


{"read": read, "write": write}[sys.argv[1]](sys.argv[2])
