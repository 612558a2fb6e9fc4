"""The token embedding table of a language model on the disk, with the text of each row.

Read from a Hugging Face folder (safetensors, whole or in shards, or pytorch_model.bin; CLIP text models, BERT-type
models, decoder language models) or from a GGUF file (quantised tables are dequantised). Of the weights only the table
is read. Nothing is fetched, and no code of the model's folder is run.
"""

import dataclasses
import hashlib
import json
import os
import re

import numpy as np

# Tensor names, by their ends, in the order they are looked for.
TABLE_NAMES = ("text_model.embeddings.token_embedding.weight",  # CLIP
               "embeddings.word_embeddings.weight",  # BERT
               "embed_tokens.weight",  # Llama, Mistral, Qwen, Gemma, Phi
               "wte.weight",  # GPT-2
               "embed_in.weight",  # GPT-NeoX
               "word_embeddings.weight")  # Bloom, Falcon
GGUF_TABLE_NAME = "token_embd.weight"
RESERVED = re.compile(r"\[unused\d+\]|<unused\d+>|<0x[0-9A-Fa-f]{2}>|<\|.*\|>|\[(PAD|UNK|CLS|SEP|MASK|BOS|EOS)\]|</?s>|<(pad|unk|mask)>")


class TableRefused(Exception):
    """What is wrong with the model; the message names file and entry."""


@dataclasses.dataclass
class Token:
    text: str  # without markers
    is_whole: bool  # a word of its own, not a piece of one
    is_special: bool  # stands for no text: marks, padding, single bytes, reserved rows
    raw: str  # as the model spells it


@dataclasses.dataclass
class TokenTable:
    tokens: list  # of Token, by row
    embeddings: np.ndarray  # [rows, channels]; at least as many rows as tokens
    tensor: str
    name: str
    licence: str  # empty where the model does not say
    file: str  # the table's
    sha256: str  # of that file


def plain_tokens(spellings, special):
    """Texts of tokens by how their model marks word boundaries: `</w>` after a word (CLIP), `##` before what goes on
    (WordPiece), U+2581 (SentencePiece) or U+0120 (byte-level BPE) before what begins."""
    has = lambda marks: any(spelling and marks(spelling) for spelling in spellings)
    if has(lambda s: s.endswith("</w>")):
        split = lambda s: (byte_level_text(s.removesuffix("</w>")), s.endswith("</w>"))
    elif has(lambda s: len(s) > 1 and s[0] == "\u2581"):
        split = lambda s: (s.removeprefix("\u2581"), s.startswith("\u2581"))
    elif has(lambda s: len(s) > 1 and s[0] == "\u0120"):
        split = lambda s: (byte_level_text(s.removeprefix("\u0120")), s.startswith("\u0120"))
    else:
        split = lambda s: (s.removeprefix("##"), not s.startswith("##"))
    tokens = []
    for row, spelling in enumerate(spellings):
        is_special = row in special or spelling is None or RESERVED.fullmatch(spelling) is not None
        text, is_whole = (spelling or "", False) if is_special else split(spelling)
        tokens.append(Token(text, is_whole, is_special, spelling or ""))
    return tokens


def byte_level_text(spelling):
    """Byte-level BPE spells every byte as a character of its own."""
    from tokenizers import decoders

    return decoders.ByteLevel().decode([spelling])


def load_token_table(model, tensor=None):
    """Throws TableRefused."""
    if model.is_dir():
        return _load_folder(model, tensor)
    if model.suffix == ".gguf" and model.is_file():
        return _load_gguf(model, tensor)
    raise TableRefused("it is neither a model's folder nor a .gguf file" if model.exists() else "it does not exist")


def _sha256_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- Hugging Face folders ------------------------------------------------------------------------------------------


def _tensor_files(folder):
    """File of each tensor, by name, of safetensors; None where there are none."""
    from safetensors import safe_open

    index = folder / "model.safetensors.index.json"
    if index.exists():
        return {name: folder / file for name, file in json.loads(index.read_text())["weight_map"].items()}
    files = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as opened:
            files |= {name: path for name in opened.keys()}
    return files or None


def _choose_table(names, wanted):
    if wanted:
        if wanted in names:
            return wanted
        raise TableRefused(f"it has no tensor {wanted}")
    for end in TABLE_NAMES:
        found = [name for name in names if name == end or name.endswith("." + end)]
        if found:
            return min(found, key=len)
    raise TableRefused(f"none of its {len(names)} tensors is a token table (looked for: {', '.join(TABLE_NAMES)}); "
                       "name it with --tensor")


def _read_table(folder, wanted):
    """Name, file and values [rows, channels]."""
    from safetensors import safe_open

    files = _tensor_files(folder)
    if files is not None:
        name = _choose_table(list(files), wanted)
        if not files[name].exists():
            raise TableRefused(f"{files[name].name}, the shard with {name}, is missing")
        with safe_open(files[name], framework="pt") as opened:
            return name, files[name], opened.get_tensor(name).float().numpy()
    path = folder / "pytorch_model.bin"
    if not path.exists():
        raise TableRefused("the folder has no weights (*.safetensors or pytorch_model.bin)")
    from checkpoint_tensors import load_state_dict

    tensors = load_state_dict(path)
    name = _choose_table(list(tensors), wanted)
    return name, path, tensors[name].float().numpy()


def _tokenizer(folder):
    os.environ["HF_HUB_OFFLINE"] = "1"
    from transformers import AutoTokenizer

    if not any((folder / name).exists() for name in ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model")):
        raise TableRefused("the folder has no tokenizer (tokenizer.json, vocab.json, vocab.txt or tokenizer.model)")
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as fault:  # whatever transformers makes of a damaged folder
        raise TableRefused(f"its tokenizer cannot be read ({fault})") from fault


def _card_licence(folder):
    """`license:` in the head of the model card, or in the configuration."""
    card = folder / "README.md"
    if card.exists():
        head = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
        found = re.search(r"^license:\s*(\S+)", head[1], re.MULTILINE) if head else None
        if found:
            return found[1].strip("'\"")
    config = folder / "config.json"
    return str(json.loads(config.read_text()).get("license") or "") if config.exists() else ""


def _load_folder(folder, wanted):
    tensor, path, table = _read_table(folder, wanted)
    if table.ndim != 2:
        raise TableRefused(f"{tensor} is {table.shape}, not [tokens, channels]")
    tokenizer = _tokenizer(folder)
    vocabulary = tokenizer.get_vocab()
    spellings = [None] * (max(vocabulary.values()) + 1)
    for spelling, row in vocabulary.items():
        spellings[row] = spelling
    special = set(tokenizer.all_special_ids) | {row for row, token in tokenizer.added_tokens_decoder.items() if token.special}
    return TokenTable(plain_tokens(spellings, special), table, tensor, folder.resolve().name, _card_licence(folder),
                      path.name, _sha256_of(path))


# --- GGUF ----------------------------------------------------------------------------------------------------------

NORMAL, USER_DEFINED = 1, 4  # of tokenizer.ggml.token_type; the others stand for no text


def _load_gguf(path, wanted):
    import gguf

    try:
        reader = gguf.GGUFReader(path)
    except (ValueError, OSError, IndexError) as fault:
        raise TableRefused(f"it is no GGUF file ({fault})") from fault
    content = lambda key: reader.fields[key].contents() if key in reader.fields else None
    spellings = content("tokenizer.ggml.tokens")
    if not spellings:
        raise TableRefused("it has no tokenizer (tokenizer.ggml.tokens)")
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    name = wanted or GGUF_TABLE_NAME
    if name not in tensors:
        raise TableRefused(f"it has no tensor {name}")
    values = gguf.dequantize(tensors[name].data, tensors[name].tensor_type)
    channels = int(tensors[name].shape[0])  # GGUF counts dimensions from the inside
    types = content("tokenizer.ggml.token_type") or []
    special = {row for row, kind in enumerate(types) if kind not in (NORMAL, USER_DEFINED)}
    return TokenTable(plain_tokens(spellings, special), np.asarray(values, np.float32).reshape(-1, channels),
                      f"{name} ({tensors[name].tensor_type.name})", str(content("general.name") or path.stem),
                      str(content("general.license") or ""), path.name, _sha256_of(path))
