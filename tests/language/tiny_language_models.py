"""Small models of random weights, as their makers write them, in FOLDER/clip, /bert, /llama, /gpt2 and *.gguf, and what
their tables hold, in FOLDER/tables.json.

usage: python tiny_language_models.py FOLDER
"""

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import gguf  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

TEXT = "the liver and the lungs of a patient are seen in the bone window a vessel runs beside the liver".split()


def make_clip(folder):
    """Byte-pair encoding with </w> at the ends of words, start and end marks, as CLIP's tokeniser has it."""
    folder.mkdir()
    words = sorted(set(TEXT))
    letters = sorted({letter for word in words for letter in word})
    merges, entries = [], letters + [letter + "</w>" for letter in letters]
    for word in words:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            pair = (pieces[0], pieces[1])
            if pair not in merges:
                merges.append(pair)
            pieces[:2] = ["".join(pair)]
            if pieces[0] not in entries:
                entries.append(pieces[0])
    entries += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {entry: row for row, entry in enumerate(entries)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    text = {"vocab_size": len(entries), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
            "num_attention_heads": 2, "max_position_embeddings": 16, "bos_token_id": len(entries) - 2,
            "eos_token_id": len(entries) - 1}
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 224, "patch_size": 112}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    model = transformers.CLIPModel(config)
    model.save_pretrained(folder)
    return entries, model.text_model.embeddings.token_embedding.weight


def make_bert(folder):
    folder.mkdir()
    entries = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *sorted(set(TEXT)), "##s", "##ing"]
    (folder / "vocab.txt").write_text("".join(entry + "\n" for entry in entries))
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(entry + "\n" for entry in entries))
    config = transformers.BertConfig(vocab_size=len(entries), hidden_size=16, num_hidden_layers=1,
                                     num_attention_heads=2, intermediate_size=32)
    model = transformers.BertModel(config)
    model.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n")
    return entries, model.embeddings.word_embeddings.weight


def make_byte_level_tokenizer(folder, text):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator([text], trainers.BpeTrainer(vocab_size=400, special_tokens=["<|endoftext|>"],
                                                              initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(folder)
    vocabulary = tokenizer.get_vocab()
    return sorted(vocabulary, key=vocabulary.get)


def make_llama(folder):
    """A decoder in two shards, with more rows than tokens, as padding to a multiple makes them."""
    folder.mkdir()
    entries = make_byte_level_tokenizer(folder, " ".join(TEXT * 4) + " säge säge säge")
    config = transformers.LlamaConfig(vocab_size=len(entries) + 5, hidden_size=16, intermediate_size=32,
                                      num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2)
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="20KB")
    return entries, model.model.embed_tokens.weight


def write_gguf(path, entries, types, table, kind):
    writer = gguf.GGUFWriter(str(path), "bert")
    writer.add_name("tiny")
    writer.add_license("mit")
    writer.add_tokenizer_model("bert")
    writer.add_token_list(entries)
    writer.add_token_types(types)
    data = table if kind is None else gguf.quantize(table, kind)
    writer.add_tensor("token_embd.weight", data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_ggufs(folder):
    """SentencePiece spelling; a control token, a byte, an unused row."""
    entries = ["<s>", "<0x0A>", "\u2581liver", "\u2581lung", "s", "\u2581bone", "spare"]
    types = [3, 6, 1, 1, 1, 1, 5]
    table = np.random.default_rng(3).normal(size=(len(entries), 64)).astype(np.float32)
    kinds = {"f32": None, "q8_0": gguf.GGMLQuantizationType.Q8_0, "q4_0": gguf.GGMLQuantizationType.Q4_0,
             "bf16": gguf.GGMLQuantizationType.BF16}
    for name, kind in kinds.items():
        write_gguf(folder / f"{name}.gguf", entries, types, table, kind)
    return entries, torch.from_numpy(table)


def main():
    folder = Path(sys.argv[1])
    torch.manual_seed(5)
    transformers.logging.set_verbosity_error()
    made = {"clip": make_clip(folder / "clip"), "bert": make_bert(folder / "bert"),
            "llama": make_llama(folder / "llama"), "gguf": make_ggufs(folder)}
    tables = {name: {"entries": entries, "rows": table.detach().float().tolist()} for name, (entries, table) in made.items()}
    (folder / "tables.json").write_text(json.dumps(tables))


if __name__ == "__main__":
    main()
