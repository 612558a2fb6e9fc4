"""The word score format of docs/formats/word_scores.md, and the finished parts of a file that is still being made."""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import zipfile

import h5py
import numpy as np

from tool_errors import STORAGE, ToolError

FORMAT = "leda-word-scores"
VERSION = 1


@dataclasses.dataclass(frozen=True, order=True)
class SliceIdentity:
    """What a slice is known by, in shards of whatever name."""

    patient: str
    series: str
    position_mm: float
    image_checksum: int = dataclasses.field(compare=False)  # of the stored normal-dose image

    def __str__(self):
        return f"patient {self.patient}, series {self.series}, position {self.position_mm:g} mm"


@dataclasses.dataclass(frozen=True)
class ScoredWords:
    """Of one slice: tokens (int32) and their scores (float32), the best first."""

    tokens: np.ndarray
    scores: np.ndarray


def hash_of(value) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8")).hexdigest()


def write_in_whole(path: pathlib.Path, write) -> None:
    """Calls write(temporary path), then gives the file its name: a reader sees the old file or the complete new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as fault:
        temporary.unlink(missing_ok=True)
        raise ToolError(STORAGE, f"{path} could not be written", str(fault), "what was computed would be lost",
                        "name a folder that may be written, with room for the file") from fault


class FinishedParts:
    """What is scored already of a file that is not complete yet: one file per batch, in a hidden folder beside it."""

    def __init__(self, output: pathlib.Path, settings: dict):
        self.folder = output.with_name(f".{output.name}.parts")
        self.settings_hash = hash_of(settings)

    def path_of(self, slices: list[SliceIdentity]) -> pathlib.Path:
        return self.folder / f"{hash_of([self.settings_hash, [dataclasses.astuple(one) for one in slices]])[:32]}.npz"

    def load(self, slices: list[SliceIdentity]) -> list[ScoredWords] | None:
        """None where these slices were not finished together under the same settings, or the file is damaged."""
        path = self.path_of(slices)
        if not path.exists():
            return None
        try:
            with np.load(path) as part:
                ends = np.cumsum(part["counts"])[:-1]
                pairs = zip(np.split(part["tokens"], ends), np.split(part["scores"], ends), strict=True)
                words = [ScoredWords(tokens, scores) for tokens, scores in pairs]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return words if len(words) == len(slices) else None

    def save(self, slices: list[SliceIdentity], words: list[ScoredWords]) -> None:
        def write(temporary):
            with open(temporary, "wb") as file:
                np.savez(file, counts=[len(one.tokens) for one in words],
                         tokens=np.concatenate([one.tokens for one in words]),
                         scores=np.concatenate([one.scores for one in words]))

        write_in_whole(self.path_of(slices), write)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def write_text_attribute(file: h5py.File, name: str, value: str) -> None:
    data = value.encode("utf-8")
    file.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", max(len(data), 1)))


def write_texts(file: h5py.File, name: str, texts: list[str]) -> None:
    encoded = [text.encode("utf-8") for text in texts]
    text_type = h5py.string_dtype("utf-8", max(1, *map(len, encoded)))
    file.create_dataset(name, data=np.array(encoded, dtype=text_type), dtype=text_type, track_times=False)


def write_word_scores(path: pathlib.Path, scored: dict[SliceIdentity, ScoredWords], settings: dict,
                      provenance: dict[str, str]) -> None:
    """settings: what the scores depend on; numbers, lists of numbers, texts, lists of texts. provenance: texts."""
    slices = sorted(scored)
    words = [scored[one] for one in slices]
    arrays = {
        "position_mm": np.array([one.position_mm for one in slices], "<f8"),
        "image_checksum": np.array([one.image_checksum for one in slices], "<u8"),
        "offsets": np.concatenate([[0], np.cumsum([len(one.tokens) for one in words])]).astype("<i8"),
        "tokens": np.concatenate([one.tokens for one in words]).astype("<i4"),
        "scores": np.concatenate([one.scores for one in words]).astype("<f4"),
    }

    def write(temporary):
        with h5py.File(temporary, "w", track_order=False) as file:
            write_texts(file, "patient", [one.patient for one in slices])
            write_texts(file, "series", [one.series for one in slices])
            for name, array in arrays.items():
                file.create_dataset(name, data=array, track_times=False)
            file.attrs.create("version", VERSION, dtype="<i8")
            texts = {"format": FORMAT, "settings_hash": hash_of(settings), **provenance}
            for name, value in settings.items():
                if isinstance(value, str) or (isinstance(value, list) and isinstance(value[0], str)):
                    texts[name] = value if isinstance(value, str) else json.dumps(value)
                else:
                    file.attrs.create(name, value, dtype="<i8" if isinstance(value, int) else "<f8")
            for name, value in texts.items():
                write_text_attribute(file, name, value)

    write_in_whole(path, write)


def read_word_scores(path: pathlib.Path) -> tuple[str, dict[SliceIdentity, ScoredWords]]:
    """The hash of the settings, and all slices. Raises OSError or KeyError for what is no such file."""
    with h5py.File(path, "r") as file:
        settings_hash = file.attrs["settings_hash"]
        columns = [[text.decode("utf-8") for text in file[name][:]] for name in ("patient", "series")]
        columns += [file["position_mm"][:].tolist(), file["image_checksum"][:].tolist()]
        ends = file["offsets"][1:-1]
        words = zip(np.split(file["tokens"][:], ends), np.split(file["scores"][:], ends), strict=True)
        scored = {SliceIdentity(*row): ScoredWords(*pair) for row, pair in zip(zip(*columns), words, strict=True)}
    return settings_hash.decode("utf-8") if isinstance(settings_hash, bytes) else settings_hash, scored
