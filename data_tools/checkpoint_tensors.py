"""Tensors of a PyTorch checkpoint (.ckpt, .pt, .pth), without running anything that the file carries.

A checkpoint is a pickle, and a pickle may name any function to be called. Here only the functions that rebuild tensors
are; every other object of the file becomes an empty placeholder.
"""

import collections
import pickle
import types
import zipfile

import torch

# What rebuilding tensors takes, by module and name.
_REBUILDING = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "Size"),
    ("torch", "device"),
}
_STORAGES = {"ByteStorage", "CharStorage", "ShortStorage", "IntStorage", "LongStorage", "HalfStorage",
             "BFloat16Storage", "FloatStorage", "DoubleStorage", "BoolStorage", "UntypedStorage"}
_DTYPES = {"float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool"}


class Placeholder:
    """Stands for an object of another program: takes whatever it is built from, and does nothing."""

    def __init__(self, *_arguments, **_options):
        pass

    def __setstate__(self, _state):
        pass

    def __call__(self, *_arguments, **_options):
        return Placeholder()

    def __setitem__(self, _key, _value):
        pass

    def append(self, _value):
        pass

    def extend(self, _values):
        pass


class _TensorUnpickler(pickle.Unpickler):
    def find_class(self, module, name):
        is_storage = module in ("torch", "torch.storage") and name in _STORAGES
        is_dtype = module == "torch" and name in _DTYPES
        if (module, name) in _REBUILDING or is_storage or is_dtype:
            return super().find_class(module, name)
        return Placeholder


def _load(file, **options):
    return _TensorUnpickler(file, **options).load()


def load_state_dict(path):
    """The tensors of a checkpoint by name: those under `state_dict`, `model_state_dict` or `model` where there is one,
    else those of the file itself. Throws ValueError where the file is no checkpoint or holds no tensors."""
    reader = types.SimpleNamespace(Unpickler=_TensorUnpickler, load=_load, __name__="checkpoint_tensors")
    try:
        # Mapped, a tensor's values are read when they are used; the format before PyTorch 1.6 cannot be.
        content = torch.load(path, map_location="cpu", pickle_module=reader, weights_only=False,
                             mmap=zipfile.is_zipfile(path))
    except OSError:
        raise  # it names the file and what is wrong with it
    except Exception as fault:  # damaged bytes make PyTorch throw whatever it comes to, AssertionError and MemoryError too
        raise ValueError(f"it is no checkpoint that PyTorch can read ({fault})") from fault
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, collections.abc.Mapping) and isinstance(content.get(key), collections.abc.Mapping):
            content = content[key]
            break
    if not isinstance(content, collections.abc.Mapping):
        raise ValueError("it holds no state dict")
    tensors = {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise ValueError("its state dict holds no tensors")
    return tensors
