#!/usr/bin/env python3
"""Makes a vocabulary file of a language model: its token embeddings and their words.

    python export_vocabulary.py pubmed-clip-vit-base-patch32/ --output pubmed_clip.h5
    python export_vocabulary.py some-model.Q8_0.gguf --pattern "[a-z]+" --minimum-letters 4 --output some_model.h5
    leda_dist_train --vocabulary.file pubmed_clip.h5 ...

MODEL is a Hugging Face folder (CLIP text model, BERT-type model or decoder language model, in safetensors or
pytorch_model.bin) or a GGUF file, whose quantised table is dequantised. Special tokens are left out, and the marks that
tokenizers put at the boundaries of words are taken away. The format: docs/formats/vocabulary.md; how to choose words:
docs/methods/vocabularies.md. Nothing is fetched. Needs launch/setup --python-tools.
"""

import argparse
import collections
import pathlib
import re
import sys

import numpy as np

from token_table import TableRefused, load_token_table
from vocabulary_file import write_vocabulary

TOOL_VERSION = "1"


class Choice:
    """Rows taken, with their words, and how many were left out for which reason."""

    def __init__(self):
        self.rows = []
        self.words = []
        self.left_out = collections.Counter()
        self._taken = set()

    def take(self, row, word):
        if word in self._taken:
            self.left_out["the same word as an earlier row"] += 1
            return
        self._taken.add(word)
        self.rows.append(row)
        self.words.append(word)


def choose_all(tokens):
    """Every row as the model spells it, for a codebook that has a row for every token."""
    choice = Choice()
    for row, token in enumerate(tokens):
        choice.take(row, token.raw or f"<row {row}>")
    return choice


def choose_by_rule(tokens, options):
    choice = Choice()
    for row, token in enumerate(tokens):
        word = token.text.lower() if options.lower_case else token.text
        if options.words == "pieces" and not token.is_whole:
            word = token.raw  # with its mark: a piece is another word than the whole of the same letters
        if token.is_special:
            choice.left_out["special tokens"] += 1
        elif not token.is_whole and options.words == "whole":
            choice.left_out["pieces of words"] += 1
        elif not word.strip() or "\ufffd" in word:
            choice.left_out["no text"] += 1
        elif sum(letter.isalpha() for letter in word) < options.minimum_letters:
            choice.left_out[f"fewer than {options.minimum_letters} letters"] += 1
        elif not re.fullmatch(options.pattern, word):
            choice.left_out["another pattern"] += 1
        elif options.limit and len(choice.rows) == options.limit:
            choice.left_out["beyond --limit"] += 1
        else:
            choice.take(row, word)
    return choice


def choose_listed(tokens, path):
    """The words of a list, in its order, that the model has as whole words."""
    rows = {}
    for row, token in enumerate(tokens):
        if token.is_whole and not token.is_special:
            rows.setdefault(token.text, row)
    choice = Choice()
    for line in path.read_text(encoding="utf-8").splitlines():
        word = line.strip()
        if not word:
            continue
        if word in rows:
            choice.take(rows[word], word)
        else:
            choice.left_out["no whole word of the model"] += 1
    return choice


def export(options):
    table = load_token_table(options.model, options.tensor)
    if len(table.embeddings) < len(table.tokens):
        raise TableRefused(f"{table.tensor} has {len(table.embeddings)} rows for {len(table.tokens)} tokens")
    licence = options.licence or table.licence
    if not licence:
        raise TableRefused("it does not say its licence; name it with --licence, as the model's page gives it")
    if options.list:
        choice = choose_listed(table.tokens, options.list)
    elif options.words == "all":
        choice = choose_all(table.tokens)
    else:
        choice = choose_by_rule(table.tokens, options)
    if not choice.rows:
        raise TableRefused("no word is left: " + ", ".join(f"{n} {reason}" for reason, n in choice.left_out.items()))
    embeddings = table.embeddings[choice.rows]
    source = options.source or f"{table.name}, {table.tensor}"
    provenance = {"model_file": table.file, "model_sha256": table.sha256, "tensor": table.tensor,
                  "exported_by": f"export_vocabulary.py {TOOL_VERSION}", "selection": describe_selection(options)}
    write_vocabulary(options.output, choice.words, embeddings, source=source, licence=licence,
                     dtype=f"<{options.dtype}", provenance=provenance)
    report(options.output, choice, embeddings, licence)


def describe_selection(options):
    if options.list:
        return f"words of {options.list.name}"
    if options.words == "all":
        return "every token, as the model spells it"
    return (f"{options.words}; pattern {options.pattern}; at least {options.minimum_letters} letters; limit "
            f"{options.limit or 'none'}; {'lower case' if options.lower_case else 'case kept'}")


def report(path, choice, embeddings, licence):
    norms = np.linalg.norm(embeddings, axis=1)
    print(f"{path}: {len(choice.words)} words x {embeddings.shape[1]}, licence {licence}")
    print(f"lengths of the embeddings: {norms.min():.3g} to {norms.max():.3g}, median {np.median(norms):.3g}")
    for reason, number in choice.left_out.most_common():
        print(f"left out: {number} {reason}")
    print(f"first words: {' '.join(choice.words[:12])}")


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0], epilog="See docs/methods/vocabularies.md.")
    parser.add_argument("model", type=pathlib.Path, help="folder of a model, or a .gguf file")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="vocabulary file to write")
    parser.add_argument("--words", choices=["whole", "pieces", "all"], default="whole",
                        help="whole words; pieces of words too, with their marks; or every token as it is, special ones "
                             "included, as the published weights need it (default whole)")
    parser.add_argument("--list", type=pathlib.Path, help="take the words of this text file, one a line, in its order")
    parser.add_argument("--pattern", default=r"\S+", help=r"regular expression a word must fit as a whole (default \S+)")
    parser.add_argument("--minimum-letters", type=int, default=2, metavar="N", help="letters in a word (default 2)")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="at most so many words, the first rows (default: all)")
    parser.add_argument("--lower-case", action="store_true", help="fold the case; of equal words the first row is taken")
    parser.add_argument("--tensor", help="name of the table, where it is none of the usual ones")
    parser.add_argument("--source", help="what the file says the embeddings come from (default: model and tensor)")
    parser.add_argument("--licence", help="the model's licence, where its files do not say")
    parser.add_argument("--dtype", choices=["f4", "f2"], default="f4", help="float32 or float16 (default f4)")
    parser.add_argument("--force", action="store_true", help="write over a file that exists")
    options = parser.parse_args()
    if options.output.exists() and not options.force:
        parser.error(f"{options.output} exists; --force writes over it")
    try:
        re.compile(options.pattern)
    except re.error as fault:
        parser.error(f"--pattern {options.pattern}: {fault}")
    return options


def main():
    options = read_arguments()
    try:
        export(options)
    except (TableRefused, ValueError, OSError) as fault:
        sys.exit(f"error: {options.model}: {fault}")


if __name__ == "__main__":
    main()
