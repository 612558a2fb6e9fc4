#!/usr/bin/env python3
"""Scores the words of a vocabulary for every slice of shards with a CLIP model from a local folder.

    python score_words.py --model pubmed-clip --vocabulary words.h5 --shards data/shards/train --output scores.h5

A training with words.source = scores and words.scores = scores.h5 takes its candidate words from there. Stopped at any
moment and started again it keeps what is finished. Method: docs/methods/candidate_words.md; the file's format:
docs/formats/word_scores.md. Needs the Python tools (launch/setup --python-tools); fetches nothing.
"""

import argparse
import importlib.metadata
import pathlib
import re
import sys

import h5py
import numpy as np
from tool_errors import DATA, OPTIONS, OptionParser, ToolError, run_tool
from tqdm import tqdm
from word_score_file import FinishedParts, ScoredWords, SliceIdentity, hash_of, read_word_scores, write_word_scores

TOOL_VERSION = "1"
BUILTIN = pathlib.Path(__file__).parent / "vocabulary" / "minilm_1500.h5"
MARK = re.compile(r"<\|.*\|>|<row \d+>")  # marks of start and end, and rows without a token, are no words
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def read_vocabulary(path: pathlib.Path) -> tuple[list[str], str]:
    """The words and the vocabulary's hash."""
    if str(path) == "builtin":
        path = BUILTIN
    remedy = "name a file of docs/formats/vocabulary.md, or builtin"
    try:
        with h5py.File(path, "r") as file:
            words = [word.decode("utf-8") for word in file["words"][:]]
            found_hash = file.attrs["hash"]
    except (OSError, KeyError) as fault:
        raise ToolError(DATA, f"vocabulary {path} cannot be read", str(fault), "its words are to be scored",
                        remedy) from fault
    if not words:
        raise ToolError(DATA, f"vocabulary {path} has no words", "0 words", "there is nothing to score", remedy)
    empty = [row for row, word in enumerate(words) if not word]
    if empty:
        value = f"{len(empty)} of {len(words)}, row {empty[0]} first"
        raise ToolError(DATA, f"vocabulary {path} has empty words", value, "a prompt without a word scores the prompt",
                        remedy)
    return words, found_hash.decode("utf-8") if isinstance(found_hash, bytes) else found_hash


def spoken(word: str) -> str:
    """A CLIP token marks the end of a word; a prompt does not."""
    return word.removesuffix("</w>") or word


class Slices:
    """All slices of some folders of shards, in the order of the folders, files and rows."""

    def __init__(self, folders: list[pathlib.Path]):
        self.places: dict[SliceIdentity, tuple[pathlib.Path, int]] = {}
        for folder in folders:
            paths = sorted(path for path in folder.glob("*.h5") if not path.name.startswith("."))
            if not paths:
                value = "it holds no *.h5 files" if folder.is_dir() else "no such folder"
                raise ToolError(DATA, f"no shards in {folder}", value, "there is nothing to score",
                                "name the folder that holds the shards themselves, DATA/train say")
            for path in paths:
                self.add(path)

    def add(self, path: pathlib.Path) -> None:
        try:
            with h5py.File(path, "r") as shard:
                version = int(shard.attrs["version"])
                if version != 1:
                    raise ValueError(f"version {version}, this tool reads version 1")
                texts = [[text.decode("utf-8") for text in shard[name][:]] for name in ("patient", "series")]
                numbers = [shard[name][:].tolist() for name in ("position_mm", "normal_dose_checksum")]
        except (OSError, KeyError, ValueError) as fault:
            raise ToolError(DATA, f"{path} is no shard, or damaged", str(fault), "its slices cannot be scored",
                            "leda_data verify; the format is docs/formats/shard.md") from fault
        for row, identity in enumerate(zip(*texts, *numbers, strict=True)):
            one = SliceIdentity(*identity)
            if one in self.places:
                raise ToolError(DATA, f"{path} holds a slice that was there before", str(one),
                                "it would not be clear which words are its own", "name each folder once, and give each "
                                "series a name of its own")
            self.places[one] = (path, row)

    def images_hu(self, slices: list[SliceIdentity]) -> np.ndarray:
        """[slices, rows, columns], int16."""
        images = []
        for one in slices:
            path, row = self.places[one]
            try:
                with h5py.File(path, "r") as shard:
                    images.append(shard["normal_dose"][row])
            except (OSError, KeyError) as fault:
                raise ToolError(DATA, f"{path} cannot be read", f"row {row}, {fault}", "the slice cannot be scored",
                                "leda_data verify says which slices are damaged") from fault
        return np.stack(images)


def words_from(similarities, slices: list[SliceIdentity], tokens: np.ndarray, lowest_score: float) -> list[ScoredWords]:
    """similarities: [slices, tokens], of those tokens. Equal scores: the lower token first."""
    import clip_scorer

    bad = np.flatnonzero(~np.isfinite(similarities.cpu().numpy()).all(1))
    if len(bad):
        raise ToolError(DATA, "the model gives no finite similarities", str(slices[bad[0]]), "they cannot be ranked",
                        "use an undamaged model; is the window one of CT numbers?")
    result = []
    for scores in clip_scorer.normalised_scores(similarities).cpu().numpy():
        chosen = np.flatnonzero(scores.astype(np.float64) >= lowest_score)
        chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
        result.append(ScoredWords(tokens[chosen].astype(np.int32), scores[chosen]))
    return result


def finished_before(output: pathlib.Path, settings: dict, may_overwrite: bool) -> dict[SliceIdentity, ScoredWords]:
    """The slices of a complete file of the same settings."""
    if not output.exists():
        return {}
    try:
        settings_hash, scored = read_word_scores(output)
    except (OSError, KeyError, ValueError):
        settings_hash, scored = "", {}
    if settings_hash == hash_of(settings):
        return scored
    if may_overwrite:
        return {}
    raise ToolError(OPTIONS, f"{output} is there and was made otherwise", "another model, vocabulary, prompt or window",
                    "scores of two kinds cannot be mixed", "name another file, or say --overwrite")


def make_parser() -> argparse.ArgumentParser:
    parser = OptionParser(description="Score the words of a vocabulary for every slice of shards with a CLIP model.",
                          formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True,
                        help="folder of a CLIP model as transformers saves it")
    parser.add_argument("--vocabulary", type=pathlib.Path, required=True, help="vocabulary file, or builtin")
    parser.add_argument("--shards", type=pathlib.Path, required=True, nargs="+", help="folders that hold shards")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="word score file to write or to complete")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that was made with other settings")
    parser.add_argument("--prompt", action="append", help="text with {} in the word's place (default: A CT of {}); "
                        "given more than once, a word's features are the mean over the prompts")
    parser.add_argument("--window", type=float, nargs=2, default=(-160.0, 240.0), metavar=("LOW", "HIGH"),
                        help="HU that become black and white")
    parser.add_argument("--mean", type=float, nargs=3, default=CLIP_MEAN, help="subtracted from the channels")
    parser.add_argument("--std", type=float, nargs=3, default=CLIP_STD, help="the channels are divided by these")
    parser.add_argument("--lowest-score", type=float, default=0.8,
                        help="words that score less are left out; the lowest threshold a training may use")
    parser.add_argument("--batch", type=int, default=16, help="slices at a time")
    parser.add_argument("--text-batch", type=int, default=256, help="words at a time")
    parser.add_argument("--cache", type=pathlib.Path, help="folder for text features (default: text_features "
                        "beside the output)")
    parser.add_argument("--licence", help="the model's licence (default: what its README.md says)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda")
    return parser


def read_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = make_parser()
    arguments = parser.parse_args(argv)
    arguments.prompt = arguments.prompt or ["A CT of {}"]
    wrong = [prompt for prompt in arguments.prompt if "{}" not in prompt]
    if wrong:
        parser.error(f"--prompt '{wrong[0]}' has no {{}} where the word goes")
    if not arguments.window[0] < arguments.window[1]:
        parser.error("--window needs a lower and a higher HU")
    if not all(value > 0 for value in arguments.std):
        parser.error("--std must be above 0")
    if not 0 < arguments.lowest_score <= 1:
        parser.error("--lowest-score must be above 0 and at most 1")
    if min(arguments.batch, arguments.text_batch) < 1:
        parser.error("--batch and --text-batch must be at least 1")
    arguments.cache = arguments.cache or arguments.output.parent / "text_features"
    return arguments


def score(arguments: argparse.Namespace) -> int:
    words, vocabulary_hash = read_vocabulary(arguments.vocabulary)
    slices = Slices(arguments.shards)
    import clip_scorer  # late: PyTorch takes seconds to load, and a wrong path should not

    scorer = clip_scorer.ClipScorer(arguments.model, list(arguments.window), list(arguments.mean), list(arguments.std),
                                    arguments.device)
    model_hash = clip_scorer.folder_hash(arguments.model)
    settings = {
        "model_hash": model_hash, "vocabulary_hash": vocabulary_hash, "prompts": arguments.prompt,
        "window_hu": list(arguments.window), "mean": list(arguments.mean), "std": list(arguments.std),
        "image_size": scorer.image_size, "lowest_score": arguments.lowest_score, "tool_version": TOOL_VERSION,
    }
    scored = finished_before(arguments.output, settings, arguments.overwrite)
    checksums = {one: one.image_checksum for one in scored}
    missing = [one for one in slices.places if checksums.get(one) != one.image_checksum]
    parts = FinishedParts(arguments.output, settings)
    if not missing:
        print(f"{arguments.output}: all {len(slices.places)} slices are scored already")
        parts.remove()
        return 0

    features = clip_scorer.cached_word_features(scorer, [spoken(word) for word in words], arguments.prompt,
                                                {"model": model_hash, "vocabulary": vocabulary_hash}, arguments.cache,
                                                arguments.text_batch)
    tokens = np.array([token for token, word in enumerate(words) if not MARK.fullmatch(word)])
    if not len(tokens):
        raise ToolError(DATA, f"vocabulary {arguments.vocabulary} has nothing but marks", f"{len(words)} tokens",
                        "there is nothing to score", "name a vocabulary with words")
    features = features[tokens]
    num_kept = len(slices.places) - len(missing)
    with tqdm(total=len(slices.places), initial=num_kept, desc="slices", unit="slice") as progress:
        for first in range(0, len(missing), arguments.batch):
            block = missing[first : first + arguments.batch]
            found = parts.load(block)
            num_kept += len(block) if found else 0
            if not found:
                similarities = scorer.image_features(slices.images_hu(block)) @ features.T
                found = words_from(similarities, block, tokens, arguments.lowest_score)
                parts.save(block, found)
            for one, its_words in zip(block, found, strict=True):
                scored.pop(one, None)  # of another image of the same name
                scored[one] = its_words
            progress.update(len(block))

    software = [f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers")]
    provenance = {"model": arguments.model.resolve().name,
                  "licence": arguments.licence or clip_scorer.licence_of(arguments.model),
                  "creator": f"score_words.py {TOOL_VERSION}, {', '.join(software)}"}
    write_word_scores(arguments.output, scored, settings, provenance)
    parts.remove()
    num_words = sum(len(scored[one].tokens) for one in slices.places)
    print(f"{arguments.output}: {len(slices.places)} slices ({num_kept} finished before), "
          f"{num_words / len(slices.places):.1f} words from score {arguments.lowest_score} on per slice")
    return 0


def main(argv: list[str] | None = None) -> int:
    arguments = read_arguments(argv)
    return run_tool(lambda: score(arguments))


if __name__ == "__main__":
    sys.exit(main())
