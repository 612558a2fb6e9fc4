"""The token embedding table of a local model, read alone and in blocks of rows: the model itself is never in memory."""

import collections.abc
import dataclasses
import json
import pathlib

import numpy as np
import safetensors

from tool_errors import DATA, OPTIONS, ToolError

# Names that model families give the table, most telling first; what stands before the name does not matter.
_TABLE_NAMES = [
    "text_model.embeddings.token_embedding.weight",  # CLIP of transformers
    "token_embedding.weight",  # CLIP of OpenAI and OpenCLIP
    "word_embeddings.weight",  # BERT, RoBERTa, DistilBERT, DeBERTa, BLOOM, Falcon
    "shared.weight",  # T5, BART
    "embed_tokens.weight",  # Llama, Mistral, Qwen, Gemma, Phi, OPT
    "tok_embeddings.weight",  # InternLM, Llama as first published
    "wte.weight",  # GPT-2, GPT-J, MPT
    "embed_in.weight",  # GPT-NeoX
]
_GGUF_TABLE = "token_embd.weight"
_BLOCK_ROWS = 8192


@dataclasses.dataclass
class EmbeddingTable:
    file: pathlib.Path
    tensor: str
    stored_type: str
    num_rows: int
    channels: int
    read_block: collections.abc.Callable[[int, int], np.ndarray]  # rows [first, last) as float32

    def rows(self, wanted: np.ndarray, dtype: str) -> np.ndarray:
        """The wanted rows, in their order, [len(wanted), channels]. What `dtype` cannot hold becomes infinite."""
        result = np.empty((len(wanted), self.channels), dtype)
        for first in range(0, self.num_rows, _BLOCK_ROWS):
            inside = np.flatnonzero((wanted >= first) & (wanted < first + _BLOCK_ROWS))
            if len(inside):
                block = self.read_block(first, min(first + _BLOCK_ROWS, self.num_rows))
                with np.errstate(over="ignore"):
                    result[inside] = block[wanted[inside] - first]
        return result


def _choose_tensor(shapes: dict[str, tuple[int, ...]], asked_for: str | None, place: pathlib.Path) -> str:
    if asked_for is not None:
        if asked_for not in shapes:
            raise ToolError(OPTIONS, f"{place} has no tensor --tensor", asked_for, "it should be the embedding table",
                            "see the model's documentation for its name")
        return asked_for
    for ending in _TABLE_NAMES:
        found = sorted(name for name in shapes if name == ending or name.endswith("." + ending))
        if len(found) == 1:
            return found[0]
        if found:
            raise ToolError(OPTIONS, f"{place} has several embedding tables", ", ".join(found),
                            "one of them becomes the vocabulary", f"choose: --tensor {found[0]}")
    tables = sorted((name for name, shape in shapes.items() if len(shape) == 2), key=lambda name: -shapes[name][0])
    raise ToolError(DATA, f"{place}: no tensor has the name of a token embedding table", f"{len(shapes)} tensors",
                    "this model's architecture is not known here",
                    f"name the table: --tensor NAME; the longest: {', '.join(tables[:5]) or 'none is two-dimensional'}")


def _require_table(shape: tuple[int, ...], tensor: str, file: pathlib.Path) -> None:
    if len(shape) != 2 or 0 in shape:
        raise ToolError(DATA, f"{file}: {tensor} is no table", " x ".join(map(str, shape)),
                        "rows of embeddings are needed", "name another tensor: --tensor NAME")


def _weight_map(index: pathlib.Path) -> dict[str, str]:
    try:
        return json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise ToolError(DATA, f"{index} is no index of weight files", str(fault),
                        "it says which file holds the embeddings", "fetch the file again") from fault


def _indexed_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files that hold a folder's weights: those of an index, or the one that is there."""
    for pattern in ("*.safetensors.index.json", "*.bin.index.json"):
        for index in sorted(folder.glob(pattern)):
            files = sorted({folder / name for name in _weight_map(index).values()})
            for file in files:
                if not file.exists():
                    raise ToolError(DATA, f"{folder}: a part of the model is missing", file.name,
                                    f"{index.name} names it", "complete the folder")
            return files
    safetensors_files = sorted(folder.glob("*.safetensors"))
    preferred = folder / "model.safetensors"
    if safetensors_files:
        return [preferred] if preferred in safetensors_files else safetensors_files
    return sorted(folder.glob("pytorch_model*.bin")) or sorted(folder.glob("open_clip*.bin"))


def _open_safetensors(files: list[pathlib.Path], asked_for: str | None, place: pathlib.Path) -> EmbeddingTable:
    shapes, file_of, types = {}, {}, {}
    for file in files:
        try:
            with safetensors.safe_open(file, framework="np") as archive:
                for name in archive.keys():
                    part = archive.get_slice(name)
                    shapes[name], file_of[name], types[name] = tuple(part.get_shape()), file, part.get_dtype()
        except (OSError, safetensors.SafetensorError) as fault:
            raise ToolError(DATA, f"{file} is no safetensors file", str(fault), "the embeddings should stand there",
                            "fetch the file again") from fault
    tensor = _choose_tensor(shapes, asked_for, place)
    file, stored_type = file_of[tensor], types[tensor]
    _require_table(shapes[tensor], tensor, file)
    if stored_type not in ("F16", "F32", "F64", "BF16"):
        raise ToolError(DATA, f"{file}: {tensor} holds no floats", stored_type, "only floats are embeddings as they are",
                        "use the model before it was quantised, or its GGUF file")

    def read_block(first: int, last: int) -> np.ndarray:
        # NumPy knows no bfloat16; PyTorch does.
        with safetensors.safe_open(file, framework="pt" if stored_type == "BF16" else "np") as archive:
            block = archive.get_slice(tensor)[first:last]
        return block.float().numpy() if stored_type == "BF16" else block.astype(np.float32)

    return EmbeddingTable(file, tensor, stored_type, *shapes[tensor], read_block)


def _load_torch(file: pathlib.Path) -> dict:
    from checkpoint_tensors import load_state_dict

    try:
        return load_state_dict(file)
    except (ValueError, OSError) as fault:
        raise ToolError(DATA, f"{file} cannot be read", str(fault), "the embeddings should stand there",
                        "fetch the file again, or save the model as safetensors") from fault


def _open_torch(files: list[pathlib.Path], asked_for: str | None, place: pathlib.Path) -> EmbeddingTable:
    tensors, file_of = {}, {}
    for file in files:
        for name, tensor in _load_torch(file).items():
            tensors[name], file_of[name] = tensor, file
    name = _choose_tensor({name: tuple(tensor.shape) for name, tensor in tensors.items()}, asked_for, place)
    table = tensors[name]
    _require_table(tuple(table.shape), name, file_of[name])
    stored_type = str(table.dtype).removeprefix("torch.")
    if not table.is_floating_point():
        raise ToolError(DATA, f"{file_of[name]}: {name} holds no floats", stored_type,
                        "only floats are embeddings as they are", "use the model before it was quantised")
    return EmbeddingTable(file_of[name], name, stored_type, *table.shape,
                          lambda first, last: table[first:last].float().numpy())


def open_gguf(file: pathlib.Path):
    import gguf

    try:
        return gguf.GGUFReader(file)
    except (OSError, ValueError, IndexError, KeyError) as fault:
        raise ToolError(DATA, f"{file} is no GGUF file", str(fault), "words and embeddings should stand there",
                        "fetch the file again") from fault


def table_of_gguf(reader, file: pathlib.Path, asked_for: str | None) -> EmbeddingTable:
    """reader: an open gguf.GGUFReader. Quantised rows become floats by the gguf package's own formulas."""
    from gguf.quants import dequantize

    tensors = {tensor.name: tensor for tensor in reader.tensors}
    name = asked_for or _GGUF_TABLE
    if name not in tensors:
        raise ToolError(DATA, f"{file} has no embedding table", f"{name} is missing", "its rows become the vocabulary",
                        "use a GGUF file of a language model; of a split one, the part that holds the table")
    tensor = tensors[name]
    channels, num_rows = (int(size) for size in tensor.shape) if len(tensor.shape) == 2 else (0, 0)
    _require_table((num_rows, channels), name, file)

    def read_block(first: int, last: int) -> np.ndarray:
        return dequantize(tensor.data[first:last], tensor.tensor_type).astype(np.float32)

    return EmbeddingTable(file, name, tensor.tensor_type.name, num_rows, channels, read_block)


def table_of_files(model: pathlib.Path, asked_for: str | None) -> EmbeddingTable:
    """model: a Hugging Face folder, or one weight file of it."""
    files = _indexed_files(model) if model.is_dir() else [model]
    if not files:
        raise ToolError(DATA, f"{model} holds no weights", "neither *.safetensors nor pytorch_model*.bin",
                        "the embeddings come from the model's weights", "complete the folder, or name a GGUF file")
    is_safetensors = all(file.suffix == ".safetensors" for file in files)
    return (_open_safetensors if is_safetensors else _open_torch)(files, asked_for, model)
