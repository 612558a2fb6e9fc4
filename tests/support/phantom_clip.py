"""A small CLIP that has learnt its words from captioned phantoms, in the folder format of a published one.

usage: python phantom_clip.py FOLDER SHARDS [--steps N] [--seed N]

Stands in for a CLIP of medical images where none can be had, so that candidates from a model that knows its words can
be compared with others. Trained contrastively (Radford and others 2021, Fig. 3): a slice, and the caption "a ct of TERM"
with a term of a tissue that the slice shows more of than slices do on average; texts with words of no tissue are
further wrong answers. It knows what a slice shows, not where.
"""

import argparse
import pathlib
import sys

import h5py
import numpy as np
import tiny_clip
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "data_tools"))

import clip_scorer  # noqa: E402
import score_words  # noqa: E402
from tissue_terms import TISSUE_TERMS, all_terms  # noqa: E402
from transformers import CLIPModel  # noqa: E402

WINDOW_HU = (-1000.0, 1000.0)  # air, fat and bone apart from each other
PROMPT = "a ct of {}"
BATCH = 32
NUM_OTHER_WORDS = 64
TISSUES = tuple(TISSUE_TERMS)


def read_slices(folder):
    """Images in HU [slices, rows, columns] and the share of each tissue's pixels [slices, tissues]."""
    images, shares = [], []
    for path in sorted(pathlib.Path(folder).glob("*.h5")):
        with h5py.File(path) as shard:
            images.append(shard["normal_dose"][:])
            labels = shard["tissue"][:]
        shares.append(np.stack([(labels == tissue).mean((1, 2)) for tissue in range(len(TISSUES))], axis=1))
    return np.concatenate(images), np.concatenate(shares)


def salience(shares):
    """Of each tissue in each slice [slices, tissues]: its share of pixels over its mean share; rows sum to 1."""
    mean = shares.mean(0)
    relative = np.where(mean > 0, shares / np.maximum(mean, 1e-12), 0.0)
    return relative / relative.sum(1, keepdims=True)


def caption(random, salience_of_slice):
    tissue = random.choice(len(TISSUES), p=salience_of_slice)
    return PROMPT.replace("{}", random.choice(TISSUE_TERMS[TISSUES[tissue]].split()))


def contrastive_loss(scorer, pixels, texts):
    """texts: those of the images, in their order, then texts of none. Symmetric over images and their texts."""
    images = scorer.encoded_pixels(pixels)
    logits = scorer.model.logit_scale.exp() * images @ scorer.encoded_texts(texts).T
    right = torch.arange(len(images))
    cross_entropy = torch.nn.functional.cross_entropy
    return (cross_entropy(logits, right) + cross_entropy(logits[:, : len(images)].T, right)) / 2


def make_phantom_clip(folder, shards, num_steps, seed=0):
    """Writes the folder; returns the loss of every step. Without any step its weights are random."""
    terms = set(all_terms())
    tiny_clip.make_tiny_clip(folder, tuple(dict.fromkeys(["a", "ct", "of", *all_terms()])), channels=64, image_size=64,
                             num_layers=2, projection=32, seed=seed)
    other_words = [word for word in score_words.read_vocabulary(score_words.BUILTIN)[0] if word not in terms]
    images, shares = read_slices(shards)
    salient = salience(shares)
    scorer = clip_scorer.ClipScorer(pathlib.Path(folder), list(WINDOW_HU), list(score_words.CLIP_MEAN),
                                    list(score_words.CLIP_STD), "cpu")
    torch.manual_seed(seed)
    scorer.model = CLIPModel(scorer.model.config)  # the library's first weights, which can be trained
    pixels = scorer.prepared(images)
    random = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(scorer.model.parameters(), lr=1e-3, weight_decay=0.01)
    losses = []
    for _ in range(num_steps):
        rows = random.integers(len(images), size=BATCH)
        texts = [caption(random, salient[row]) for row in rows]
        texts += [PROMPT.replace("{}", word) for word in random.choice(other_words, NUM_OTHER_WORDS, replace=False)]
        loss = contrastive_loss(scorer, pixels[rows], texts)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    scorer.model.save_pretrained(folder)
    return losses


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("shards", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    losses = make_phantom_clip(chosen.folder, chosen.shards, chosen.steps, chosen.seed)
    tenth = len(losses) // 10
    if tenth:
        print(f"{chosen.folder}: contrastive loss {np.mean(losses[:tenth]):.3f} to {np.mean(losses[-tenth:]):.3f} "
              f"in {len(losses)} steps")
