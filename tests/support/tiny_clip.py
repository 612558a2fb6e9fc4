"""Makes a CLIP model of random weights with transformers, as a folder that looks like a published one.

usage: python tiny_clip.py FOLDER [word...]

Its tokenizer knows single letters and the given words. What it finds alike means nothing.
"""

import json
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer  # noqa: E402

MARKS = ("<|startoftext|>", "<|endoftext|>")
DEFAULT_WORDS = ("bone", "bones", "lung", "air", "fat", "water", "muscle", "blood", "metal", "a", "ct", "of")


def merges_of(words):
    """Byte-pair merges, from the left, that make one token of each word."""
    merges = []
    for word in words:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces[:2] = [pieces[0] + pieces[1]]
    return list(dict.fromkeys(merges))


def make_tiny_clip(folder, words=DEFAULT_WORDS, channels=16, image_size=32, num_layers=1, projection=8, seed=0):
    """Returns the tokens' texts, in order, with their end marks: the rows of the text model's embedding table."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    merges = merges_of(words)
    texts = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges)]
    texts = [*dict.fromkeys(texts), *MARKS]
    (folder / "vocab.json").write_text(json.dumps({text: row for row, text in enumerate(texts)}), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), "utf-8")
    CLIPTokenizer.from_pretrained(folder, local_files_only=True).save_pretrained(folder)

    tower = {"hidden_size": channels, "intermediate_size": 2 * channels, "num_attention_heads": 2,
             "num_hidden_layers": num_layers}
    torch.manual_seed(seed)
    model = CLIPModel(CLIPConfig(
        text_config={**tower, "vocab_size": len(texts), "max_position_embeddings": 24, "bos_token_id": len(texts) - 2,
                     "eos_token_id": len(texts) - 1, "pad_token_id": len(texts) - 1},
        vision_config={**tower, "image_size": image_size, "patch_size": image_size // 4},
        projection_dim=projection,
    ))
    with torch.no_grad():  # the library's first weights are so small that all texts are nearly alike
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3)
    model.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: cc0-1.0\n---\nRandom weights, for tests.\n", "utf-8")
    return texts


if __name__ == "__main__":
    make_tiny_clip(sys.argv[1], *([sys.argv[2:]] if sys.argv[2:] else []))
