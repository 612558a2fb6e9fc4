"""data_tools/import_autoencoder.py: what it reads off a checkpoint, what it says, and what it refuses. That the imported
network computes what the published one does: tests/model_files/published_weights_test.cpp.

usage: python import_autoencoder_test.py
"""

import json
import pathlib
import sys
import tempfile
import unittest

import safetensors
import torch

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "tests" / "support"), str(REPOSITORY / "data_tools")]

import import_autoencoder  # noqa: E402
import published_network  # noqa: E402
import vocabulary_file  # noqa: E402
from checkpoint_tensors import load_state_dict  # noqa: E402
from tool_case import ToolCase  # noqa: E402


class Touch:
    """Makes a file when a careless reader loads it."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path(self.path),)


class ImportAutoencoder(ToolCase):
    @classmethod
    def setUpClass(cls):
        cls._made = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls._made.cleanup)
        sys.argv = ["published_network.py", cls._made.name]
        published_network.main()
        cls.checkpoint = pathlib.Path(cls._made.name) / "published.ckpt"
        cls.tensors = load_state_dict(cls.checkpoint)

    def save(self, tensors, **others):
        path = self.folder / "changed.ckpt"
        torch.save({"state_dict": tensors, **others}, path)
        return path

    def imported(self, checkpoint, *options):
        """Tensors and metadata of the file, and what was said."""
        output = self.folder / "autoencoder.safetensors"
        said = self.succeed(import_autoencoder, checkpoint, "--output", output, *options)
        with safetensors.safe_open(output, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata(), said

    def refusal(self, checkpoint, *options):
        output = self.folder / "refused.safetensors"
        said = self.refuse(import_autoencoder, checkpoint, "--output", output, *options, code=11)
        self.assertFalse(output.exists())
        self.assertIn(str(checkpoint), said)
        return said

    def test_every_tensor_arrives_and_the_report_says_what_did_not(self):
        tensors, metadata, said = self.imported(self.checkpoint)
        self.assertIn("taken: 153 tensors", said)
        self.assertIn("codebook 400 words x 24", said)
        self.assertIn("left out: 2 tensors", said)
        self.assertIn("left over: 0 tensors", said)
        self.assertEqual(len(tensors), 153)
        for name, tensor in tensors.items():
            self.assertTrue(torch.equal(tensor, self.tensors[name]), name)
        self.assertEqual(json.loads(metadata["options"]),
                         {"channels": 32, "multipliers": [1, 2, 2], "encoder_blocks": 1, "decoder_blocks": 2,
                          "latent_channels": 64, "attention_levels": [], "norm_groups": 32, "strides": [16, 4, 1],
                          "has_decoder": True, "compatibility": "published"})
        self.assertIn("types: float32 (153 tensors)", said)
        self.assertIn("loss.discriminator.* (1), loss.perceptual_loss.* (1)", said)
        self.assertEqual((metadata["format"], metadata["version"]), ("leda-autoencoder", "1"))
        self.assertEqual((float(metadata["window_low_hu"]), float(metadata["window_high_hu"])), (-1000.0, 2000.0))
        self.assertEqual(metadata["vocabulary_hash"], "none")
        self.assertEqual(len(metadata["imported_sha256"]), 64)
        (self.folder / "plain").touch()
        self.assertEqual((self.folder / "autoencoder.safetensors").stat().st_mode, (self.folder / "plain").stat().st_mode)

    def test_attention_beside_the_middle_is_found(self):
        tensors = dict(self.tensors)
        for place in ("encoder.down.1.attn.0", "decoder.up.1.attn.0", "decoder.up.1.attn.1"):
            for part in ("norm", "q", "k", "v", "proj_out"):
                tensors[f"{place}.{part}.weight"] = torch.zeros(64, *([] if part == "norm" else [64, 1, 1]))
                tensors[f"{place}.{part}.bias"] = torch.zeros(64)
        _, metadata, _ = self.imported(self.save(tensors), "--compatibility", "none")
        self.assertEqual(json.loads(metadata["options"])["attention_levels"], [1])
        # leda_dist_train would refuse such a file if it called itself published.
        self.assertIn("attention_levels are [1], those of the published network []", self.refusal(self.save(tensors)))

    def test_other_strides_and_groups_are_not_called_published(self):
        self.assertIn("strides are [4, 2, 1]", self.refusal(self.checkpoint, "--strides", "4,2,1"))
        _, metadata, _ = self.imported(self.checkpoint, "--strides", "4,2,1", "--compatibility", "none")
        self.assertEqual(json.loads(metadata["options"])["strides"], [4, 2, 1])
        self.assertIn("--norm-groups", self.refusal(self.checkpoint, "--norm-groups", 48))
        for option in ("--strides=4,3,1", "--strides=4,2", "--strides=2,0", "--window=5:1", "--window=5", "--norm-groups=0"):
            said = self.refuse(import_autoencoder, self.checkpoint, "--output", self.folder / "x", option, code=10)
            self.assertIn(option.split("=")[0], said)

    def test_types_are_kept(self):
        for dtype, name in ((torch.float16, "float16"), (torch.bfloat16, "bfloat16"), (torch.float64, "float64")):
            changed = {key: tensor.to(dtype) for key, tensor in self.tensors.items()}
            tensors, _, said = self.imported(self.save(changed), "--force")
            self.assertIn(f"types: {name} (153 tensors)", said)
            self.assertTrue(all(torch.equal(tensor, changed[key]) for key, tensor in tensors.items()))
        whole = self.tensors | {"quant_conv.bias": torch.zeros(24, dtype=torch.int64)}
        self.assertIn("quant_conv.bias (torch.int64)", self.refusal(self.save(whole)))

    def test_an_encoder_alone(self):
        encoder = {name: tensor for name, tensor in self.tensors.items() if not name.startswith(("decoder.", "post_quant"))}
        self.assertIn("--encoder-only", self.refusal(self.save(encoder)))
        for checkpoint, left_out in ((self.checkpoint, "decoder."), (self.save(encoder), "loss.")):
            tensors, metadata, said = self.imported(checkpoint, "--encoder-only", "--force")
            self.assertEqual(set(tensors), {name for name in encoder if not name.startswith("loss.")})
            self.assertFalse(json.loads(metadata["options"])["has_decoder"])
            self.assertIn(left_out, said)

    def test_a_network_built_differently_is_refused(self):
        foreign = self.tensors | {"encoder.down.0.block.0.temb_proj.weight": torch.zeros(3, 3)}
        self.assertIn("encoder.down.0.block.0.temb_proj.weight", self.refusal(self.save(foreign)))
        more = {name.replace("block.0", "block.1"): tensor for name, tensor in self.tensors.items() if "down.2.block.0" in name}
        self.assertIn("encoder.down.2.block.1", self.refusal(self.save(self.tensors | more)))
        two = self.tensors | {"model." + name: tensor for name, tensor in self.tensors.items()}
        tensors, _, said = self.imported(self.save(two))  # the bare names are the network's, the others left over
        self.assertIn(f"left over: {len(self.tensors)} tensors: model.", said)
        hidden = {name: tensor for name, tensor in two.items() if name != "encoder.conv_in.weight"}
        self.assertIn("two networks", self.refusal(self.save(hidden)))

    def test_names_of_wrappers_and_state_dicts_without_a_checkpoint_around_are_read(self):
        wrapped = {"module.model." + name: tensor for name, tensor in self.tensors.items()}
        wrapped["module.model.extra.weight"] = torch.zeros(3)
        path = self.folder / "wrapped.pt"
        torch.save(wrapped, path, _use_new_zipfile_serialization=False)  # the format of before
        tensors, _, said = self.imported(path)
        self.assertEqual(len(tensors), 153)
        self.assertIn("left over: 1 tensors: extra.weight", said)

    def test_the_words_own_embeddings_are_compared_and_the_checkpoints_rows_can_be_written_with_them(self):
        words = [f"word{row}" for row in range(400)]
        rows = self.tensors["quantize.embedding.weight"].numpy()
        moved = rows.copy()
        moved[7] *= 1.5
        own, written = self.folder / "own.h5", self.folder / "checkpoint_words.h5"
        vocabulary_file.write_vocabulary(own, words, moved, source="a model", licence="mit")
        _, metadata, said = self.imported(self.checkpoint, "--vocabulary", own, "--write-vocabulary", written)
        self.assertIn("399 of 400 rows equal", said)
        found_words, found_rows, attributes = vocabulary_file.read_vocabulary(written)
        self.assertEqual(found_words, words)
        self.assertTrue((found_rows == rows).all())
        self.assertEqual(metadata["vocabulary_hash"], attributes["hash"])
        vocabulary_file.write_vocabulary(own, words, rows[::-1], source="a model", licence="mit")
        self.assertIn("in another order", self.refusal(self.checkpoint, "--vocabulary", own))
        self.assertIn("other.h5", self.refusal(self.checkpoint, "--vocabulary", self.folder / "other.h5"))
        vocabulary_file.write_vocabulary(own, words[:-1], moved[:-1], source="a model", licence="mit")
        self.assertIn("399 words x 24, the checkpoint's codebook is 400 x 24",
                      self.refusal(self.checkpoint, "--vocabulary", own))

    def test_what_is_missing_or_does_not_fit_is_named(self):
        without = lambda *names: {name: tensor for name, tensor in self.tensors.items() if name not in names}
        self.assertIn("2 tensors of the autoencoder are missing: encoder.mid.attn_1.q.bias, quant_conv.weight",
                      self.refusal(self.save(without("encoder.mid.attn_1.q.bias", "quant_conv.weight"))))
        self.assertIn("quantize.embedding.weight is missing",
                      self.refusal(self.save(without("quantize.embedding.weight"))))
        narrow = self.tensors | {"decoder.conv_out.weight": torch.zeros(1, 31, 3, 3)}
        self.assertIn("decoder.conv_out.weight is (1, 31, 3, 3), the others ask for (1, 32, 3, 3)",
                      self.refusal(self.save(narrow)))
        spoilt = self.tensors | {"post_quant_conv.bias": torch.full((64,), float("nan"))}
        self.assertIn("NaN or infinity in post_quant_conv.bias", self.refusal(self.save(spoilt)))
        coloured = self.tensors | {"encoder.conv_in.weight": torch.zeros(32, 3, 3, 3)}
        self.assertIn("takes 3 channels; CT images have one", self.refusal(self.save(coloured)))

    def test_what_is_no_checkpoint_is_refused(self):
        path = self.folder / "text.ckpt"
        path.write_text("words\n")
        self.assertIn("no checkpoint that PyTorch can read", self.refusal(path))
        self.assertIn("No such file", self.refusal(self.folder / "absent.ckpt"))
        self.assertIn("holds no tensors", self.refusal(self.save({"x": 3})))
        path.write_bytes(self.checkpoint.read_bytes()[:100000])
        self.assertIn("no checkpoint that PyTorch can read", self.refusal(path))
        torch.save(self.tensors, path, _use_new_zipfile_serialization=False)
        path.write_bytes(path.read_bytes().replace(b"storage", b"st3rage", 1))
        self.assertIn("no checkpoint that PyTorch can read", self.refusal(path))
        path.write_bytes(b"")
        self.assertIn("no checkpoint that PyTorch can read", self.refusal(path))

    def test_a_folder_that_is_not_there_is_named(self):
        said = self.refuse(import_autoencoder, self.checkpoint, "--output", self.folder / "absent" / "x.safetensors", code=12)
        self.assertIn(f"there is no folder {self.folder / 'absent'}", said)

    def test_nothing_in_a_checkpoint_is_run(self):
        tensors, _, _ = self.imported(self.save(self.tensors, callbacks=[Touch(self.folder / "was_run")]))
        self.assertEqual(len(tensors), 153)
        self.assertFalse((self.folder / "was_run").exists())

    def test_files_that_exist_are_kept(self):
        output = self.folder / "autoencoder.safetensors"
        output.write_text("mine")
        self.assertIn("--force", self.refuse(import_autoencoder, self.checkpoint, "--output", output, code=12))
        self.assertEqual(output.read_text(), "mine")
        self.succeed(import_autoencoder, self.checkpoint, "--output", output, "--force")

    def test_published_is_of_the_published_window_only(self):
        self.assertIn("window", self.refuse(import_autoencoder, self.checkpoint, "--output", self.folder / "x",
                                            "--window=-160:240", code=10))


if __name__ == "__main__":
    unittest.main()
