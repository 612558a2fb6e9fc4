#!/usr/bin/env python3
"""Makes a vocabulary file of a language model: its token embeddings and their words.

    python export_vocabulary.py pubmed-clip-vit-base-patch32/ --output pubmed_clip.h5
    python export_vocabulary.py some-model.Q8_0.gguf --pattern "[a-z]+" --minimum-letters 4 --output some_model.h5
    leda_dist_train --vocabulary.file pubmed_clip.h5 ...

MODEL is a Hugging Face folder (CLIP text model, BERT-type model or decoder language model, in safetensors or
pytorch_model.bin), one weight file of such a folder, or a GGUF file, whose quantised table is dequantised. Special tokens
are left out, and the marks that tokenizers put at the boundaries of words are taken away. The format:
docs/formats/vocabulary.md; how to choose words: docs/methods/vocabularies.md. Nothing is fetched, and nothing that the
model's files carry is run. Needs launch/setup --python-tools. Ends with 0, 10 (options), 11 (the model) or 12 (the output).
"""

import argparse
import collections
import dataclasses
import pathlib
import re
import sys

import numpy as np

from embedding_table import EmbeddingTable, open_gguf, table_of_files, table_of_gguf
from file_hash import sha256_of
from model_facts import ModelFacts, facts_of_folder, facts_of_gguf
from model_tokens import ModelTokens, tokens_of_folder, tokens_of_gguf
from tissue_terms import all_terms, tissues_without_term
from token_spelling import PIECE, SPECIAL, UNUSED, WHOLE, read_token
from tool_errors import DATA, OPTIONS, STORAGE, OptionParser, ToolError, run_tool
from vocabulary_file import write_vocabulary

TOOL = "export_vocabulary.py 2"
NO_TOKEN = "rows without a token"


@dataclasses.dataclass
class Choice:
    """The words taken and their rows, how many tokens were left out for which reason, and what was asked for in vain."""

    words: list[str]
    rows: list[int]
    left_out: collections.Counter
    unknown: list[str] = dataclasses.field(default_factory=list)


def open_model(path: pathlib.Path, tensor: str | None) -> tuple[ModelTokens, EmbeddingTable, ModelFacts]:
    if not path.exists():
        raise ToolError(DATA, f"{path} does not exist", str(path), "its words and embeddings are wanted",
                        "name a model's folder or a GGUF file")
    if path.is_dir() and not any(path.glob("*.safetensors")) and len(list(path.glob("*.gguf"))) == 1:
        path = next(path.glob("*.gguf"))
    if path.suffix == ".gguf":
        reader = open_gguf(path)
        return tokens_of_gguf(reader, path), table_of_gguf(reader, path, tensor), facts_of_gguf(reader, path)
    table = table_of_files(path, tensor)
    folder = path if path.is_dir() else path.parent
    return tokens_of_folder(folder), table, facts_of_folder(folder)


def check_sizes(tokens: ModelTokens, table: EmbeddingTable) -> None:
    if table.num_rows < len(tokens.spelled):
        raise ToolError(DATA, f"{table.file}: {table.tensor} has fewer rows than the tokenizer has tokens",
                        f"{table.num_rows} rows, {len(tokens.spelled)} tokens in {tokens.file}",
                        "tokenizer and weights are not of the same model", "use the tokenizer that came with the weights")


def read_tokens(tokens: ModelTokens) -> list[tuple[str, str]]:
    """Kind and text of each row's token."""
    read = []
    for row, spelled in enumerate(tokens.spelled):
        if spelled is None:
            read.append((NO_TOKEN, ""))
        elif row in tokens.special:
            read.append((SPECIAL, spelled))
        elif row in tokens.unused:
            read.append((UNUSED, spelled))
        elif row in tokens.added:
            read.append(read_token(spelled, "plain", False))
        else:
            read.append(read_token(spelled, tokens.marking, tokens.is_byte_level))
    return read


def reason_against(word: str, options: argparse.Namespace, of_any_length: set[str]) -> str | None:
    num_letters = sum(letter.isalpha() for letter in word)
    if num_letters < options.minimum_letters and word not in of_any_length:
        return f"fewer than {options.minimum_letters} letters"
    return None if re.fullmatch(options.pattern, word) else "another pattern"


def choose_words(tokens: ModelTokens, options: argparse.Namespace) -> Choice:
    """Whole words, and with --words pieces those as the model spells them, by row, each word once."""
    left_out: collections.Counter = collections.Counter()
    best: dict[str, tuple[bool, int]] = {}
    of_any_length = set(all_terms()) if options.tissue_terms_first else set()
    for row, (kind, text) in enumerate(read_tokens(tokens)):
        if kind not in (WHOLE, PIECE) or (kind == PIECE and options.words != "pieces"):
            left_out[kind] += 1
            continue
        # A piece keeps its mark, where it has one: it is another word than the whole of the same letters.
        spelled = tokens.spelled[row] if kind == PIECE and tokens.marking == "word_piece" else text
        word = spelled.lower() if options.lower_case else spelled
        reason = reason_against(word, options, of_any_length)
        if reason is not None:
            left_out[reason] += 1
            continue
        # Of the rows of one word: a whole word before a piece, then the first row.
        rank = (kind == PIECE, row)
        if word in best:
            left_out["the same word as another row"] += 1
        best[word] = min(rank, best.get(word, rank))
    rows = {word: rank[1] for word, rank in sorted(best.items(), key=lambda entry: entry[1][1])}
    return Choice(list(rows), list(rows.values()), left_out)


def read_list(path: pathlib.Path, lower_case: bool) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        raise ToolError(DATA, f"the word list {path} cannot be read", str(fault), "its words were asked for",
                        "name a UTF-8 text file with one word a line") from fault
    words = [line.strip().lower() if lower_case else line.strip() for line in lines if line.strip()]
    twice = sorted(word for word, count in collections.Counter(words).items() if count > 1)
    if twice:
        raise ToolError(DATA, f"the word list {path} names words twice", ", ".join(twice[:10]),
                        "a word must be one token", "name every word once")
    return words


def keep_listed(choice: Choice, listed: list[str]) -> Choice:
    """The listed words that the model has, in the list's order."""
    row_of = dict(zip(choice.words, choice.rows))
    words = [word for word in listed if word in row_of]
    left_out = choice.left_out + collections.Counter({"not in the list": len(choice.words) - len(words)})
    return Choice(words, [row_of[word] for word in words], left_out, [word for word in listed if word not in row_of])


def put_tissue_terms_first(choice: Choice) -> Choice:
    row_of = dict(zip(choice.words, choice.rows))
    first = [term for term in all_terms() if term in row_of]
    words = first + [word for word in choice.words if word not in set(first)]
    return dataclasses.replace(choice, words=words, rows=[row_of[word] for word in words])


def keep_limit(choice: Choice, limit: int) -> Choice:
    left_out = choice.left_out + collections.Counter({f"beyond --limit {limit}": max(0, len(choice.words) - limit)})
    return dataclasses.replace(choice, words=choice.words[:limit], rows=choice.rows[:limit], left_out=left_out)


def every_token(tokens: ModelTokens) -> Choice:
    """Each row's token as the tokenizer spells it, so that a word's number is the model's number of the token."""
    words: dict[str, int] = {}
    for row, spelled in enumerate(tokens.spelled):
        word = spelled or f"<row {row}>"
        if not word.isprintable():
            word = word.encode("unicode_escape").decode()
        words[f"{word} <row {row}>" if word in words else word] = row
    return Choice(list(words), list(words.values()), collections.Counter())


def choose(tokens: ModelTokens, options: argparse.Namespace) -> Choice:
    if options.words == "all":
        return every_token(tokens)
    choice = choose_words(tokens, options)
    if options.list:
        choice = keep_listed(choice, read_list(options.list, options.lower_case))
    if options.tissue_terms_first:
        choice = put_tissue_terms_first(choice)
    return keep_limit(choice, options.limit) if options.limit else choice


def describe_selection(options: argparse.Namespace) -> str:
    if options.words == "all":
        return "every token, as the model spells it"
    listed = f"words of {options.list.name}, sha256 {sha256_of(options.list)}; " if options.list else ""
    return (f"{listed}{options.words}; pattern {options.pattern}; at least {options.minimum_letters} letters; limit "
            f"{options.limit or 'none'}; {'lower case' if options.lower_case else 'case kept'}"
            f"{'; tissue terms first' if options.tissue_terms_first else ''}")


def provenance(options: argparse.Namespace, table: EmbeddingTable, tokens: ModelTokens,
               facts: ModelFacts) -> dict[str, str]:
    return {"model": options.model.resolve().name, "model_file": table.file.name, "model_sha256": sha256_of(table.file),
            "architecture": facts.architecture, "tensor": table.tensor, "tensor_type": table.stored_type,
            "tokens": tokens.file, "marking": tokens.marking, "selection": describe_selection(options), "exported_by": TOOL}


def licence_of(options: argparse.Namespace, facts: ModelFacts) -> str:
    licence = options.licence or facts.licence
    if not licence:
        raise ToolError(OPTIONS, f"{options.model} states no licence", "neither model card nor metadata names one",
                        "embeddings are a part of the model and go under its licence",
                        "look it up on the model's page and say --licence NAME")
    return licence


def write(options: argparse.Namespace, choice: Choice, embeddings: np.ndarray, texts: dict, licence: str,
          source: str) -> str:
    try:
        return write_vocabulary(options.output, choice.words, embeddings, source=source, licence=licence,
                                dtype=f"<{options.dtype}", provenance=texts, token_ids=choice.rows)
    except ValueError as fault:
        remedy = "use an undamaged model; what is too large for --dtype f2 fits f4"
        raise ToolError(DATA, f"{options.model} gives no vocabulary", str(fault), "no reader would take it", remedy) from fault
    except OSError as fault:
        raise ToolError(STORAGE, f"{options.output} could not be written", str(fault), "the vocabulary is not there",
                        "name a folder that exists and may be written, with room for the file") from fault


def report(options, table: EmbeddingTable, tokens: ModelTokens, choice: Choice, embeddings: np.ndarray) -> None:
    print(f"{table.file.name}: {table.tensor}, {table.num_rows} x {table.channels}, {table.stored_type}; "
          f"{len(tokens.spelled)} tokens in {tokens.file}, marking {tokens.marking}")
    norms = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    print(f"lengths of the embeddings: {norms.min():.3g} to {norms.max():.3g}, median {np.median(norms):.3g}")
    if (norms == 0).any():
        print(f"{(norms == 0).sum()} of them are all zeros: vocabulary.normalise_rows would refuse them")
    left_out = choice.left_out + collections.Counter({NO_TOKEN: table.num_rows - len(tokens.spelled)})
    for reason, number in left_out.most_common():
        print(f"left out: {number} {reason}")
    if choice.unknown:
        named = ", ".join(choice.unknown[:20]) + (", ..." if len(choice.unknown) > 20 else "")
        print(f"{len(choice.unknown)} words of the list are no word of the model: {named}")
    missing = tissues_without_term(choice.words)
    if missing and options.words != "all":
        print(f"no term of the tissues {', '.join(missing)} is among the words; tissue words need one of each")
    print(f"first words: {' '.join(choice.words[:12])}")


def read_arguments() -> argparse.Namespace:
    parser = OptionParser(description=__doc__.partition("\n\n")[0], epilog="See docs/methods/vocabularies.md.")
    parser.add_argument("model", type=pathlib.Path, help="folder of a model, a weight file in it, or a .gguf file")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="vocabulary file to write")
    parser.add_argument("--words", choices=["whole", "pieces", "all"], default="whole",
                        help="whole words; pieces of words too; or every token as it is, special ones included, as the "
                             "published weights need it (default whole)")
    parser.add_argument("--list", type=pathlib.Path, help="take the words of this text file, one a line, in its order")
    parser.add_argument("--pattern", default=r"\S+", help=r"regular expression a word must fit as a whole (default \S+)")
    parser.add_argument("--minimum-letters", type=int, default=2, metavar="N", help="letters in a word (default 2)")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="at most so many words, the first (default: all)")
    parser.add_argument("--lower-case", action="store_true", help="fold the case; of equal words the first row is taken")
    parser.add_argument("--tissue-terms-first", action="store_true",
                        help="begin with the terms of tissues that the model has, whatever their length")
    parser.add_argument("--tensor", help="name of the table, where it is none of the usual ones")
    parser.add_argument("--source", help="what the file says the embeddings come from (default: model and tensor)")
    parser.add_argument("--licence", help="the model's licence, where its files do not say")
    parser.add_argument("--dtype", choices=["f4", "f2"], default="f4", help="float32 or float16 (default f4)")
    parser.add_argument("--force", action="store_true", help="write over a file that exists")
    options = parser.parse_args()
    if options.minimum_letters < 0 or options.limit < 0:
        parser.error("--minimum-letters and --limit are not negative")
    narrowed = options.list or options.limit or options.lower_case or options.tissue_terms_first
    if options.words == "all" and (narrowed or options.pattern != parser.get_default("pattern")):
        parser.error("--words all takes every token as it is: no other choice goes with it")
    try:
        re.compile(options.pattern)
    except re.error as fault:
        parser.error(f"--pattern {options.pattern}: {fault}")
    return options


def export() -> int:
    options = read_arguments()
    if options.output.exists() and not options.force:
        raise ToolError(STORAGE, f"{options.output} exists", str(options.output), "it may be in use", "--force writes over it")
    tokens, table, facts = open_model(options.model, options.tensor)
    licence = licence_of(options, facts)
    check_sizes(tokens, table)
    choice = choose(tokens, options)
    if not choice.words:
        reasons = ", ".join(f"{number} {reason}" for reason, number in choice.left_out.items())
        raise ToolError(DATA, f"no word of {options.model} is left", reasons, "a codebook needs at least one word",
                        "loosen the choice, or name words that the model has")
    embeddings = table.rows(np.array(choice.rows, np.int64), f"<{options.dtype}")
    source = options.source or f"{facts.name}, {table.tensor}"
    content_hash = write(options, choice, embeddings, provenance(options, table, tokens, facts), licence, source)
    print(f"{options.output}: {len(choice.words)} words x {table.channels}, licence {licence}, hash {content_hash}")
    report(options, table, tokens, choice, embeddings)
    return 0


def main() -> None:
    sys.exit(run_tool(export))


if __name__ == "__main__":
    main()
