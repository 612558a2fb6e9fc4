#!/usr/bin/env python3
"""Makes autoencoder.safetensors of a checkpoint of taming-transformers, such as the published weights of LEDA.

    python import_autoencoder.py last.ckpt --output autoencoder.safetensors
    leda_dist_train --run.stages denoise --leda.autoencoder autoencoder.safetensors ...

The sizes of the network are read off the tensors, the codebook is the checkpoint's own. What the checkpoint holds
besides the autoencoder (discriminator, LPIPS, optimiser) is left out and counted. Nothing that the checkpoint carries
is run. The file's format: docs/formats/networks.md; what `published` means: docs/methods/published_weights.md.
Needs PyTorch, safetensors and, for --vocabulary, h5py (launch/setup --python-tools).
"""

import collections
import json
import os
import pathlib
import re
import sys

import numpy as np
import safetensors.torch
import torch

from checkpoint_tensors import load_state_dict
from file_hash import sha256_of
from tool_errors import DATA, STORAGE, OptionParser, ToolError, run_tool

CODEBOOK = "quantize.embedding.weight"
LEFT_OUT = ("loss.",)  # discriminator, LPIPS and their statistics: stage 1's own
# Tensors of these parts compute the network's output: one that has no place here means another network.
NETWORK_PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")
DECODER_PARTS = ("decoder.", "post_quant_conv.")
WRAPPERS = ("module.", "model.", "_forward_module.", "_orig_mod.")  # put before every name by what wraps a network
PUBLISHED_WINDOW = (-1000.0, 2000.0)
PUBLISHED_STRIDES = [16, 4, 1]
WEIGHT_TYPES = {torch.float16: "float16", torch.bfloat16: "bfloat16", torch.float32: "float32", torch.float64: "float64"}
UNRELATED_COSINE = 0.5  # different words lie well below it, a row that moved in training well above


class ImportRefused(Exception):
    """What is wrong with the input; the message names file and entry."""


def unwrapped(tensors):
    """The same tensors without what wraps the autoencoder's names, one wrapper within another."""
    while "encoder.conv_in.weight" not in tensors:
        prefix = next((p for p in WRAPPERS if any(name.startswith(p) for name in tensors)), None)
        if prefix is None:
            break
        inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        if len(inside) != len(tensors):
            raise ImportRefused(f"it holds two networks, one with '{prefix}' before its names and one without; keep one")
        tensors = inside
    return tensors


def shape_of(tensors, name):
    if name not in tensors:
        raise ImportRefused(f"{name} is missing; without it this is no autoencoder of taming-transformers")
    return tuple(tensors[name].shape)


def count(tensors, pattern):
    """One more than the largest number in the first group of the pattern; 0 where nothing fits."""
    found = [int(match[1]) for match in (re.match(pattern, name) for name in tensors) if match]
    return max(found) + 1 if found else 0


def infer_options(tensors, strides, norm_groups, encoder_only):
    """The options of docs/formats/networks.md, from the shapes."""
    channels, image_channels = shape_of(tensors, "encoder.conv_in.weight")[:2]
    if image_channels != 1:
        raise ImportRefused(f"encoder.conv_in.weight takes {image_channels} channels; CT images have one")
    num_levels = count(tensors, r"encoder\.down\.(\d+)\.")
    encoder_blocks = count(tensors, r"encoder\.down\.0\.block\.(\d+)\.")
    decoder_blocks = count(tensors, r"decoder\.up\.0\.block\.(\d+)\.")
    if not (num_levels and encoder_blocks):
        raise ImportRefused("encoder.down.* is missing; without it this is no autoencoder of taming-transformers")
    if not (decoder_blocks or encoder_only):
        raise ImportRefused("decoder.up.* is missing; stage 2 needs no decoder: --encoder-only does without")
    multipliers = []
    for level in range(num_levels):
        width = shape_of(tensors, f"encoder.down.{level}.block.{encoder_blocks - 1}.conv2.weight")[0]
        if width % channels:
            raise ImportRefused(f"encoder.down.{level} has {width} channels, no multiple of the first layer's {channels}")
        if channels % norm_groups or width % norm_groups:
            raise ImportRefused(f"{norm_groups} groups of GroupNorm do not divide {channels} and {width} channels; "
                                "--norm-groups says with how many the network was built")
        multipliers.append(width // channels)
    attention = sorted({int(match[1]) for match in (re.match(r"encoder\.down\.(\d+)\.attn\.", name) for name in tensors)
                        if match})
    return {"channels": channels, "multipliers": multipliers, "encoder_blocks": encoder_blocks,
            "decoder_blocks": decoder_blocks or encoder_blocks + 1, "latent_channels": shape_of(tensors, "encoder.conv_out.weight")[0],
            "attention_levels": attention, "norm_groups": norm_groups, "strides": strides, "has_decoder": not encoder_only}


def require_published(options):
    """Refuses to call published what the program would not load as published."""
    # Built for 512 x 512 images, the published code has attention where the level is of 16 x 16.
    attention = [level for level in range(len(options["multipliers"])) if 512 >> level == 16]
    for name, found, wanted in (("attention_levels", options["attention_levels"], attention),
                                ("strides", options["strides"], PUBLISHED_STRIDES)):
        if found != wanted:
            raise ImportRefused(f"{name} are {found}, those of the published network {wanted}; --compatibility none "
                                "imports it as a network of this project")


def layer(name, *shape):
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def residual_block(name, before, after):
    shapes = {**layer(f"{name}.norm1", before), **layer(f"{name}.conv1", after, before, 3, 3),
              **layer(f"{name}.norm2", after), **layer(f"{name}.conv2", after, after, 3, 3)}
    if before != after:
        shapes |= layer(f"{name}.nin_shortcut", after, before, 1, 1)
    return shapes


def attention_block(name, channels):
    shapes = layer(f"{name}.norm", channels)
    for part in ("q", "k", "v", "proj_out"):
        shapes |= layer(f"{name}.{part}", channels, channels, 1, 1)
    return shapes


def residual_level(name, options, level, num_blocks, before, after):
    shapes = {}
    for block in range(num_blocks):
        shapes |= residual_block(f"{name}.block.{block}", before if block == 0 else after, after)
        if level in options["attention_levels"]:
            shapes |= attention_block(f"{name}.attn.{block}", after)
    return shapes


def middle(name, channels):
    return {**residual_block(f"{name}.block_1", channels, channels), **attention_block(f"{name}.attn_1", channels),
            **residual_block(f"{name}.block_2", channels, channels)}


def expected_shapes(options, token_channels):
    """Every tensor of the network with these options, but for the codebook. An encoder alone has fewer."""
    channels, latent = options["channels"], options["latent_channels"]
    widths = [channels * multiplier for multiplier in options["multipliers"]]
    last = len(widths) - 1
    shapes = layer("encoder.conv_in", channels, 1, 3, 3)
    for level, width in enumerate(widths):
        name = f"encoder.down.{level}"
        shapes |= residual_level(name, options, level, options["encoder_blocks"], widths[level - 1] if level else channels,
                                 width)
        if level < last:
            shapes |= layer(f"{name}.downsample.conv", width, width, 3, 3)
    shapes |= middle("encoder.mid", widths[-1]) | layer("encoder.norm_out", widths[-1])
    shapes |= layer("encoder.conv_out", latent, widths[-1], 3, 3)
    shapes |= layer("decoder.conv_in", widths[-1], latent, 3, 3) | middle("decoder.mid", widths[-1])
    for level in range(last, -1, -1):
        name = f"decoder.up.{level}"
        shapes |= residual_level(name, options, level, options["decoder_blocks"], widths[min(level + 1, last)],
                                 widths[level])
        if level > 0:
            shapes |= layer(f"{name}.upsample.conv", widths[level], widths[level], 3, 3)
    shapes |= layer("decoder.norm_out", channels) | layer("decoder.conv_out", 1, channels, 3, 3)
    shapes |= layer("quant_conv", token_channels, latent, 1, 1) | layer("post_quant_conv", latent, token_channels, 1, 1)
    if options["has_decoder"]:
        return shapes
    return {name: shape for name, shape in shapes.items() if not name.startswith(DECODER_PARTS)}


def sorted_out(tensors, shapes, has_decoder):
    """Names missing, of another shape, left out on purpose, and left over."""
    wanted = {**shapes, CODEBOOK: tuple(tensors[CODEBOOK].shape)}
    missing = sorted(set(wanted) - set(tensors))
    misshapen = sorted(f"{name} is {tuple(tensors[name].shape)}, the others ask for {shape}"
                       for name, shape in wanted.items() if name in tensors and tuple(tensors[name].shape) != shape)
    others = [name for name in tensors if name not in wanted]
    left_out = [name for name in others if name.startswith(LEFT_OUT if has_decoder else LEFT_OUT + DECODER_PARTS)]
    return missing, misshapen, left_out, sorted(set(others) - set(left_out))


def require_fitting(missing, misshapen, left_over):
    if missing:
        raise ImportRefused(f"{len(missing)} tensors of the autoencoder are missing: {', '.join(missing)}")
    if misshapen:
        raise ImportRefused("; ".join(misshapen))
    foreign = [name for name in left_over if name.startswith(NETWORK_PARTS)]
    if foreign:
        raise ImportRefused(f"the network has {len(foreign)} tensors that one of taming-transformers has not, and would "
                            f"compute something else without them: {', '.join(foreign)}")


def require_weights(tensors):
    whole = [f"{name} ({tensor.dtype})" for name, tensor in tensors.items() if tensor.dtype not in WEIGHT_TYPES]
    if whole:
        raise ImportRefused(f"of a type that weights are not kept in: {', '.join(whole)}")
    bad = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise ImportRefused(f"NaN or infinity in {', '.join(bad)}")


def word_facts(vocabulary, codebook, write_vocabulary, source):
    """The vocabulary hash of the file, after a comparison of the words' own embeddings with the checkpoint's rows."""
    import vocabulary_file  # h5py is needed for this alone

    words, embeddings, attributes = vocabulary_file.read_vocabulary(vocabulary)
    rows = codebook.float().numpy()
    if embeddings.shape != rows.shape:
        raise ImportRefused(f"{vocabulary} has {embeddings.shape[0]} words x {embeddings.shape[1]}, the checkpoint's "
                            f"codebook is {rows.shape[0]} x {rows.shape[1]}; export the model with all its tokens")
    lengths = np.linalg.norm(embeddings, axis=1) * np.linalg.norm(rows, axis=1)
    cosines = (embeddings.astype("f8") * rows).sum(axis=1) / np.maximum(lengths, 1e-12)
    if np.median(cosines) < UNRELATED_COSINE:
        raise ImportRefused(f"{vocabulary} has other words than the codebook, or the same in another order: the cosine of "
                            f"a row and its word's embedding is {np.median(cosines):.3f} (median)")
    drift = np.linalg.norm(embeddings - rows, axis=1) / np.maximum(np.linalg.norm(embeddings, axis=1), 1e-12)
    print(f"codebook against {vocabulary}: {int((drift == 0).sum())} of {len(words)} rows equal, relative distance "
          f"{np.median(drift):.3g} (median), {drift.max():.3g} (largest); cosine {np.median(cosines):.6f} (median), "
          f"{cosines.min():.6f} (smallest)")
    if write_vocabulary:
        vocabulary_file.write_vocabulary(write_vocabulary, words, rows,
                                         source=f"{attributes['source']}; rows of {source}", licence=attributes["licence"])
        print(f"{write_vocabulary}: its words with the checkpoint's rows")
    # As the file that the words will be read from states it.
    version = vocabulary_file.VERSION if write_vocabulary else int(attributes["version"])
    return vocabulary_file.vocabulary_hash(words, rows, version)


def counted(names):
    """Tensors by the parts of the network that they belong to: loss.discriminator.* (22)."""
    groups = collections.Counter(".".join(name.split(".")[:-1][:2]) for name in names)
    return ", ".join(f"{group}.* ({number})" for group, number in groups.items())


def save(path, tensors, metadata):
    """Whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        safetensors.torch.save_file(tensors, temporary, metadata=metadata)
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # safetensors writes for the owner alone; others of a project read it too
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def import_autoencoder(arguments):
    tensors = unwrapped(load_state_dict(arguments.checkpoint))
    options = infer_options(tensors, arguments.strides, arguments.norm_groups, arguments.encoder_only)
    options["compatibility"] = arguments.compatibility
    if arguments.compatibility == "published":
        require_published(options)
    if len(shape_of(tensors, CODEBOOK)) != 2:
        raise ImportRefused(f"{CODEBOOK} is {shape_of(tensors, CODEBOOK)}, not [words, channels]")
    shapes = expected_shapes(options, tensors[CODEBOOK].shape[1])
    missing, misshapen, left_out, left_over = sorted_out(tensors, shapes, options["has_decoder"])
    require_fitting(missing, misshapen, left_over)
    taken = {name: tensors[name].detach().clone(memory_format=torch.contiguous_format) for name in [*shapes, CODEBOOK]}
    require_weights(taken)

    num_words, token_channels = taken[CODEBOOK].shape
    print(f"{arguments.checkpoint}: {json.dumps(options)}")
    print(f"taken: {len(taken)} tensors, {sum(tensor.numel() for tensor in taken.values()):,} numbers; codebook "
          f"{num_words} words x {token_channels}")
    types = collections.Counter(WEIGHT_TYPES[tensor.dtype] for tensor in taken.values())
    print("types: " + ", ".join(f"{name} ({number} tensors)" for name, number in types.items()))
    print(f"left out: {len(left_out)} tensors: " + (counted(left_out) or "none"))
    print(f"left over: {len(left_over)} tensors{': ' if left_over else ''}{', '.join(left_over)}")
    vocabulary_hash = "none"
    if arguments.vocabulary:
        vocabulary_hash = word_facts(arguments.vocabulary, taken[CODEBOOK], arguments.write_vocabulary,
                                     arguments.checkpoint.name)
    low, high = arguments.window
    save(arguments.output, taken,
         {"format": "leda-autoencoder", "version": "1", "options": json.dumps(options), "window_low_hu": repr(low),
          "window_high_hu": repr(high), "vocabulary_hash": vocabulary_hash,
          "imported_from": arguments.checkpoint.name, "imported_sha256": sha256_of(arguments.checkpoint)})
    print(f"{arguments.output}: written; stage 2 takes it as leda.autoencoder, with data.window = {low:g}:{high:g}")


def read_arguments():
    parser = OptionParser(description=__doc__.partition("\n\n")[0],
                          epilog="See docs/methods/published_weights.md.")
    parser.add_argument("checkpoint", type=pathlib.Path, help=".ckpt, .pt or .pth with a state dict")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="autoencoder.safetensors to write")
    parser.add_argument("--compatibility", choices=["published", "none"], default="published",
                        help="quantiser and losses of the published code, or of this project (default published)")
    parser.add_argument("--strides", type=lambda text: [int(word) for word in text.split(",")], default=PUBLISHED_STRIDES,
                        metavar="S,S,S", help="of the token pyramid, coarse to fine (default 16,4,1)")
    parser.add_argument("--norm-groups", type=int, default=32, help="groups of GroupNorm (default 32)")
    parser.add_argument("--encoder-only", action="store_true",
                        help="leave the decoder out, or do without one; stage 2 needs none")
    parser.add_argument("--window", type=lambda text: [float(word) for word in text.split(":")],
                        default=list(PUBLISHED_WINDOW), metavar="LOW:HIGH", help="HU (default -1000:2000, as published)")
    parser.add_argument("--vocabulary", type=pathlib.Path,
                        help="vocabulary file with the words of the codebook's rows, to compare and to name them")
    parser.add_argument("--write-vocabulary", type=pathlib.Path,
                        help="writes these words with the checkpoint's rows: the vocabulary of the imported file")
    parser.add_argument("--force", action="store_true", help="write over files that exist")
    arguments = parser.parse_args()
    if arguments.norm_groups < 1:
        parser.error(f"--norm-groups {arguments.norm_groups}: at least 1")
    strides = arguments.strides
    if strides[-1] != 1 or any(a <= b or b < 1 or a % b for a, b in zip(strides, strides[1:])):
        parser.error(f"--strides {','.join(map(str, strides))}: each a multiple of the next, down to 1")
    if len(arguments.window) != 2 or not -np.inf < arguments.window[0] < arguments.window[1] < np.inf:
        parser.error("--window: LOW:HIGH in HU, LOW below HIGH")
    if arguments.write_vocabulary and not arguments.vocabulary:
        parser.error("--write-vocabulary takes its words from --vocabulary")
    if arguments.compatibility == "published" and tuple(arguments.window) != PUBLISHED_WINDOW:
        parser.error("--compatibility published means the window -1000:2000")
    return arguments


def import_or_refuse() -> int:
    arguments = read_arguments()
    for path in (arguments.output, arguments.write_vocabulary):
        if path and path.exists() and not arguments.force:
            raise ToolError(STORAGE, f"{path} exists", str(path), "it may be in use", "--force writes over it")
        if path and not path.parent.is_dir():
            raise ToolError(STORAGE, f"{path} cannot be written", f"there is no folder {path.parent}",
                            "the import would end after its work", "make the folder, or name another")
    try:
        import_autoencoder(arguments)
    except (ImportRefused, ValueError, KeyError) as fault:
        raise ToolError(DATA, f"{arguments.checkpoint} is not imported", str(fault),
                        "a network with other weights than the checkpoint's would pass for the published one",
                        "docs/methods/published_weights.md says what a checkpoint must hold, and which options help") from fault
    except safetensors.SafetensorError as fault:
        raise ToolError(STORAGE, f"{arguments.output} cannot be written", str(fault), "stage 2 needs the file whole",
                        "see to the disk's space and rights, and import again") from fault
    return 0


def main() -> None:
    sys.exit(run_tool(import_or_refuse))


if __name__ == "__main__":
    main()
