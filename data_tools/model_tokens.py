"""The tokens of a local model, by row of its embedding table: from a Hugging Face folder or from a GGUF file."""

import dataclasses
import json
import pathlib

from token_spelling import marking_of
from tool_errors import DATA, ToolError

# tokenizer.ggml.token_type of GGUF
_GGUF_SPECIAL = {2, 3}  # unknown, control
_GGUF_UNUSED = 5


@dataclasses.dataclass
class ModelTokens:
    spelled: list[str | None]  # by row; None: the tokenizer has no token of this number
    special: set[int]  # rows of marks such as start, end, padding
    unused: set[int]
    added: set[int]  # rows of words that were added to the tokenizer as they are, without its marks
    marking: str  # see token_spelling.py
    is_byte_level: bool
    file: str  # where they were read


def _make(by_id: dict[int, str], special: set[int], added: set[int], file: str,
          unused: set[int] = frozenset()) -> ModelTokens:
    spelled = [by_id.get(row) for row in range(max(by_id, default=-1) + 1)]
    # Marks and added words show nothing of how the model's own tokens are spelled.
    ordinary = [token for row, token in by_id.items() if row not in special and row not in added]
    marking, is_byte_level = marking_of(ordinary)
    return ModelTokens(spelled, set(special), set(unused), added - special, marking, is_byte_level, file)


def _read_json(path: pathlib.Path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise ToolError(DATA, f"{path} cannot be read", str(fault), "the words of the model stand there",
                        "fetch the file again") from fault


def _special_contents(folder: pathlib.Path) -> set[str]:
    """The tokens that the folder's settings call special, by their spelling."""
    contents: set[str] = set()
    path = folder / "special_tokens_map.json"
    if path.exists():
        for value in _read_json(path).values():
            for token in value if isinstance(value, list) else [value]:
                contents.add(token["content"] if isinstance(token, dict) else token)
    path = folder / "tokenizer_config.json"
    if path.exists():
        settings = _read_json(path)
        added = settings.get("added_tokens_decoder", {}).values()
        contents.update(token["content"] for token in added if token.get("special"))
        for name in ("bos", "eos", "unk", "pad", "cls", "sep", "mask"):
            value = settings.get(f"{name}_token")
            contents.add(value["content"] if isinstance(value, dict) else value)
    return contents


def _tokens_of_tokenizer_json(path: pathlib.Path) -> tuple[dict[int, str], set[int], set[int]]:
    content = _read_json(path)
    model = content.get("model") if isinstance(content, dict) else None
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, dict):
        by_id = {row: token for token, row in vocabulary.items()}
    elif isinstance(vocabulary, list):  # unigram: [token, score]
        by_id = {row: entry[0] for row, entry in enumerate(vocabulary)}
    else:
        kind = str(model.get("type")) if isinstance(model, dict) else "no model"
        raise ToolError(DATA, f"{path} holds no vocabulary", kind, "the words of the model should stand there",
                        "use a tokenizer of type BPE, WordPiece or Unigram")
    added = {entry["id"]: entry for entry in content.get("added_tokens") or []}
    own = set(by_id)
    by_id.update({row: entry["content"] for row, entry in added.items()})
    special = {row for row, entry in added.items() if entry.get("special")}
    return by_id, special, set(added) - own


def _tokens_of_sentencepiece(path: pathlib.Path) -> tuple[dict[int, str], set[int], set[int]]:
    from google.protobuf.message import DecodeError
    from transformers.utils import sentencepiece_model_pb2_new as sentencepiece

    model = sentencepiece.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
        fault = "it holds no pieces"
    except DecodeError as error:
        fault = str(error)
    if not model.pieces:  # other bytes may pass as a message of unknown fields
        raise ToolError(DATA, f"{path} is no SentencePiece model", fault, "the words of the model should stand there",
                        "save the tokenizer as tokenizer.json")
    kind = sentencepiece.ModelProto.SentencePiece
    special = {row for row, piece in enumerate(model.pieces) if piece.type in (kind.UNKNOWN, kind.CONTROL)}
    return {row: piece.piece for row, piece in enumerate(model.pieces)}, special, set()


def tokens_of_folder(folder: pathlib.Path) -> ModelTokens:
    """Reads tokenizer.json, vocab.txt, vocab.json, tokenizer.model or spiece.model, the first that is there."""
    added_path = folder / "added_tokens.json"
    names = ["tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model"]
    name = next((name for name in names if (folder / name).exists()), None)
    if name is None:
        raise ToolError(DATA, f"{folder} holds no tokenizer", f"none of {', '.join(names)}",
                        "rows of numbers are no vocabulary without their words", "copy the tokenizer's files into the folder")
    path = folder / name
    if name == "tokenizer.json":
        by_id, special, added = _tokens_of_tokenizer_json(path)
    elif name == "vocab.txt":
        # Split at line feeds alone: some tokens are other line separators of Unicode.
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        by_id, special, added = dict(enumerate(lines)), set(), set()
    elif name == "vocab.json":
        by_id, special, added = {row: token for token, row in _read_json(path).items()}, set(), set()
    else:
        by_id, special, added = _tokens_of_sentencepiece(path)
    if added_path.exists():
        more = {row: token for token, row in _read_json(added_path).items() if row not in by_id}
        by_id.update(more)
        added |= set(more)
    marks = _special_contents(folder)
    special |= {row for row, token in by_id.items() if token in marks}
    return _make(by_id, special, added, name)


def tokens_of_gguf(reader, file: pathlib.Path) -> ModelTokens:
    """reader: an open gguf.GGUFReader."""
    field = reader.get_field("tokenizer.ggml.tokens")
    if field is None:
        raise ToolError(DATA, f"{file} holds no tokenizer", "tokenizer.ggml.tokens is missing",
                        "rows of numbers are no vocabulary without their words",
                        "use a GGUF file of a language model; of a split one, its first part")
    spelled = field.contents()
    types_field = reader.get_field("tokenizer.ggml.token_type")
    types = types_field.contents() if types_field is not None else []
    special = {row for row, kind in enumerate(types) if kind in _GGUF_SPECIAL}
    unused = {row for row, kind in enumerate(types) if kind == _GGUF_UNUSED}
    for name in ("bos", "eos", "unknown", "padding", "separator", "seperator", "cls", "mask", "eot", "eom"):
        mark = reader.get_field(f"tokenizer.ggml.{name}_token_id")
        if mark is not None:
            special.add(int(mark.contents()))
    return _make(dict(enumerate(spelled)), special, set(), "tokenizer.ggml.tokens", unused)
