"""A CLIP model from a local folder, and how like a CT image it finds words.

Text features are computed once for all words, and cached; an image costs one pass of the image tower.
"""

import hashlib
import json
import os
import pathlib
import re

import numpy as np
from file_hash import sha256_of
from tool_errors import DATA, ToolError
from word_score_file import hash_of, write_in_whole

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported: nothing is fetched, ever

import safetensors.numpy  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from tqdm import tqdm  # noqa: E402

transformers.logging.set_verbosity_error()  # what it would warn of is checked below
transformers.logging.disable_progress_bar()

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
CONTENT = ("*.json", "*.txt", "*.safetensors", "*.bin")  # of a model's folder: configuration, tokenizer, weights
REMEDY = "name a folder with config.json, the tokenizer's files and model.safetensors, as transformers saves a CLIP"


def folder_hash(folder: pathlib.Path) -> str:
    """SHA-256 over the names and bytes of all files that make the model."""
    total = hashlib.sha256()
    for path in sorted({path for pattern in CONTENT for path in folder.glob(pattern)}):
        total.update(path.name.encode("utf-8") + b"\0")
        total.update(bytes.fromhex(sha256_of(path)))
    return total.hexdigest()


def licence_of(folder: pathlib.Path) -> str:
    """What the head of the model's README.md says; "unknown" where it says nothing."""
    card = folder / "README.md"
    found = re.search(r"^license:\s*(\S.*)$", card.read_text("utf-8"), re.MULTILINE) if card.is_file() else None
    return found[1].strip() if found else "unknown"


def load_model(folder: pathlib.Path):
    """The model, complete, and its tokenizer."""
    if not (folder / "config.json").is_file():
        value = "no config.json in it" if folder.is_dir() else "no such folder"
        raise ToolError(DATA, f"{folder} is no CLIP folder", value, "the model's shape stands there", REMEDY)
    kind = json.loads((folder / "config.json").read_text("utf-8")).get("model_type")
    if kind != "clip":
        raise ToolError(DATA, f"{folder} holds another kind of model", f"model_type {kind}",
                        "words and images need a common space", REMEDY)
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise ToolError(DATA, f"{folder} holds no weights", f"none of {', '.join(WEIGHTS)}",
                        "a model without weights scores by chance", REMEDY)
    try:
        model, report = transformers.CLIPModel.from_pretrained(folder, local_files_only=True, output_loading_info=True,
                                                               dtype=torch.float32)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as fault:  # the libraries below raise errors of many kinds
        raise ToolError(DATA, f"{folder} cannot be read", str(fault).strip().split("\n")[0],
                        "neither words nor images can be scored", REMEDY) from fault
    missing = sorted(report["missing_keys"])
    if missing:
        value = f"{len(missing)} missing, {missing[0]} first"
        raise ToolError(DATA, f"the weights in {folder} are not complete", value,
                        "the library would fill in random numbers", REMEDY)
    return model.eval(), tokenizer


def normalised(features: torch.Tensor) -> torch.Tensor:
    return features / features.norm(dim=-1, keepdim=True)


class ClipScorer:
    """window_hu, mean, std: what an image is clipped to, and what its channels are shifted and divided by."""

    def __init__(self, folder: pathlib.Path, window_hu: list[float], mean: list[float], std: list[float], device: str):
        self.model, self.tokenizer = load_model(folder)
        self.model.to(device)
        self.device = device
        self.window_hu = window_hu
        self.mean = torch.tensor(mean, device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(std, device=device).view(1, 3, 1, 1)
        self.image_size = self.model.config.vision_config.image_size

    def encoded_texts(self, texts: list[str]) -> torch.Tensor:
        """[texts, channels], of length 1: one pass of the text tower per text. Gradients pass."""
        limit = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(texts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        pooled = self.model.text_model(input_ids=tokens["input_ids"].to(self.device),
                                       attention_mask=tokens["attention_mask"].to(self.device)).pooler_output
        return normalised(self.model.text_projection(pooled))

    def encoded_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """prepared() images -> [images, channels], of length 1. Gradients pass."""
        return normalised(self.model.visual_projection(self.model.vision_model(pixel_values=pixels).pooler_output))

    @torch.no_grad()
    def prompt_features(self, texts: list[str]) -> torch.Tensor:
        return self.encoded_texts(texts)

    def word_features(self, words: list[str], prompts: list[str], batch: int) -> torch.Tensor:
        """[words, channels], of length 1: of several prompts the mean of their features."""
        blocks = []
        with tqdm(total=len(words), desc="words", unit="word") as progress:
            for first in range(0, len(words), batch):
                block = words[first : first + batch]
                features = [self.prompt_features([prompt.replace("{}", word) for word in block]) for prompt in prompts]
                blocks.append(normalised(torch.stack(features).mean(0)) if len(prompts) > 1 else features[0])
                progress.update(len(block))
        return torch.cat(blocks)

    def prepared(self, images_hu: np.ndarray) -> torch.Tensor:
        """[images, rows, columns] in HU -> [images, 3, size, size] as the image tower takes them."""
        low, high = self.window_hu
        images = torch.from_numpy(images_hu.astype(np.float32)).to(self.device).unsqueeze(1)
        images = ((images - low) / (high - low)).clamp(0, 1).repeat(1, 3, 1, 1)
        size = (self.image_size, self.image_size)
        images = torch.nn.functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
        return (images - self.mean) / self.std

    @torch.no_grad()
    def image_features(self, images_hu: np.ndarray) -> torch.Tensor:
        """[images, channels], of length 1."""
        return self.encoded_pixels(self.prepared(images_hu))


def cached_word_features(scorer: ClipScorer, words: list[str], prompts: list[str], key: dict, folder: pathlib.Path,
                         batch: int) -> torch.Tensor:
    """word_features, from the cache where they were computed before. key: all that they depend on."""
    path = folder / f"{hash_of([key, prompts])[:32]}.safetensors"
    try:
        features = torch.from_numpy(safetensors.numpy.load_file(path)["text_features"]).to(scorer.device)
    except (OSError, KeyError, safetensors.SafetensorError):  # absent or damaged: computed again
        features = scorer.word_features(words, prompts, batch)
        content = {"text_features": features.cpu().numpy()}
        write_in_whole(path, lambda temporary: safetensors.numpy.save_file(content, temporary, {"key": str(key)}))
    bad = torch.nonzero(~torch.isfinite(features).all(1))
    if len(bad) or len(features) != len(words):
        value = f'{len(bad)} of {len(words)} words, the first is "{words[int(bad[0])]}"' if len(bad) else str(path)
        raise ToolError(DATA, "text features are not finite or not complete", value, "similarities would mean nothing",
                        "use an undamaged model, and remove the cached file")
    return features


def normalised_scores(similarities: torch.Tensor) -> torch.Tensor:
    """[images, words] -> from 0, the least like, to 1, the most like word of each image; all 1 where all are equal."""
    lowest = similarities.min(1, keepdim=True).values
    spread = similarities.max(1, keepdim=True).values - lowest
    return torch.where(spread > 0, (similarities - lowest) / spread, 1.0)
