"""Bad input: one clear message with file or option, value and remedy; the exit code on the whole job; no hang.

usage: python bad_input_test.py
"""

import os
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from leda_job import (DATA, REPOSITORY, TRAIN, TRAININGS, JobTestCase, as_arguments, checkpoints,  # noqa: E402
                      environment, run)

TIME_LIMIT = 60  # seconds; each takes one to three where nothing else runs


def fnv1a(content):
    value = 14695981039346656037
    for byte in content:
        value = (value ^ byte) * 1099511628211 % 2**64
    return f"{value:016x}"


def write_vocabulary(path, num_channels, **attributes):
    with h5py.File(REPOSITORY / "data_tools" / "vocabulary" / "minilm_1500.h5") as builtin:
        words = [word.decode() for word in builtin["words"][:60]]
        embeddings = builtin["embeddings"][:60, :num_channels].astype("<f4")
    content = "".join(word + "\n" for word in words).encode() + embeddings.tobytes()
    with h5py.File(path, "w") as file:
        file.create_dataset("words", data=words, dtype=h5py.string_dtype())
        file["embeddings"] = embeddings
        file.attrs.update(**{"format": "leda-vocabulary", "version": 1, "source": "s", "licence": "l",
                             "hash": fnv1a(content), **attributes})
    return path


class BadInput(JobTestCase):
    """Most is refused on one rank; that many ranks say the same thing once, and end together, is told by a few."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write_phantoms()

    def refuse(self, command, code, *words, ranks=(None,), before_training=True):
        run_folder = self.folder / "run"
        for number in ranks:  # None: without mpirun
            with self.subTest(words=words, ranks=number):
                self.assert_refused(run(command, ranks=number, timeout=TIME_LIMIT), code, *words)
                trained = [path for training in TRAININGS for path in checkpoints(run_folder / training)]
                if before_training:
                    self.assertEqual(trained, [], "refused before anything is trained")
            shutil.rmtree(run_folder, ignore_errors=True)

    def copy_of_data(self, name="data"):
        return shutil.copytree(self.data, self.folder / name)


class Options(BadInput):
    def test_unknown_option_names_the_nearest(self):
        self.refuse(self.job("--denoiser.chanels=3"), 10, "denoiser.chanels", "did you mean denoiser.channels?",
                    ranks=(None, 2))
        self.refuse(self.job("--channels", "3"), 10, "channels", "did you mean")
        file = self.folder / "job.cfg"
        file.write_text("[training]\nglobal_batsh = 3\n")
        self.refuse([TRAIN, "--config", file], 10, file, "global_batsh", "training.global_batch")

    def test_value_of_the_wrong_kind(self):
        self.refuse(self.job(denoiser__channels="many"), 10, "denoiser.channels", "whole number", "'many'")

    def test_value_out_of_range(self):
        # Every option's kind and range is tested in tests/config; here, that a refusal ends the job.
        self.refuse(self.job(run__stages="pretain"), 10, "run.stages", "pretain")

    def test_options_that_contradict_each_other(self):
        other = self.folder / "other"
        self.refuse([*self.job(), f"--run.folder={other}"], 10, "twice", "run.folder")
        self.refuse(self.job(autoencoder__strides="3,2,1"), 10, "autoencoder.strides", "3,2,1")
        self.refuse(self.job(words__placement="image", words__thresholds="0.5"), 10, "words.thresholds", "0.5")

    def test_option_file_that_is_not_there(self):
        self.refuse([TRAIN, "--config", self.folder / "none.cfg"], 10, self.folder / "none.cfg")

    def test_a_corrected_option_is_accepted_where_nothing_was_trained(self):
        options = {"run__stages": "baseline", "denoiser__num_steps": 4}
        self.assert_refused(run(self.job(denoiser__crop=8, **options)), 11, "8 x 8", "denoiser.crop")
        self.assert_ended(run(self.job(denoiser__crop=32, **options)), 0)

    def test_perceptual_loss_without_its_weights(self):
        self.refuse(self.job(autoencoder__perceptual_weight=1), 10, "autoencoder.perceptual_weights", "LPIPS")
        self.refuse(self.job(autoencoder__perceptual_weight=1, autoencoder__perceptual_weights=self.folder / "none"),
                    11, self.folder / "none")


class Data(BadInput):
    def test_missing_folder(self):
        self.refuse(self.job(data__folder=self.folder / "none"), 11, self.folder / "none" / "train", "no such folder",
                    "leda_data", ranks=(None, 2))

    def test_empty_folder(self):
        folder = self.copy_of_data()
        for shard in (folder / "validation").iterdir():
            shard.unlink()
        self.refuse(self.job(data__folder=folder), 11, folder / "validation", "no *.h5 files")

    def test_truncated_shard(self):
        shard = self.copy_of_data() / "train" / "shard_00001.h5"
        os.truncate(shard, shard.stat().st_size // 2)
        self.refuse(self.job(data__folder=self.folder / "data"), 11, shard, "truncated")
        os.truncate(shard, 0)
        self.refuse(self.job(data__folder=self.folder / "data"), 11, shard)

    def test_damaged_slice(self):
        shard = self.copy_of_data() / "train" / "shard_00001.h5"
        with h5py.File(shard) as file:
            chunk = file["normal_dose"].id.get_chunk_info_by_coord((3, 0, 0))
        with open(shard, "r+b") as file:
            file.seek(chunk.byte_offset + chunk.size // 2)
            file.write(b"\x55\xaa\x55\xaa")
        self.refuse(self.job(data__folder=self.folder / "data"), 11, shard, "normal_dose", "slice 3 is damaged",
                    ranks=(2,))

    def test_shard_of_another_version(self):
        shard = self.copy_of_data() / "train" / "shard_00001.h5"
        with h5py.File(shard, "a") as file:
            file.attrs.modify("version", np.int64(2))
        self.refuse(self.job(data__folder=self.folder / "data"), 11, shard, "'version'", "2", "version 1")

    def test_shards_of_different_shapes(self):
        big = self.folder / "big"
        self.write_phantoms(big, size=80)
        mixed = self.copy_of_data("mixed")
        shutil.copy(big / "train" / "shard_00001.h5", mixed / "train" / "shard_00009.h5")
        self.refuse(self.job(data__folder=mixed), 11, mixed / "train" / "shard_00009.h5", "64 x 64", "80 x 80")
        unlike = self.copy_of_data("unlike")
        shutil.rmtree(unlike / "test")
        shutil.copytree(big / "test", unlike / "test")
        self.refuse(self.job(data__folder=unlike), 11, unlike / "test", "64 x 64", "80 x 80")

    def test_crops_that_fit_no_autoencoder_are_refused_before_stage_1(self):
        for crop, code in ((40, 11), (96, 10)):
            self.refuse(self.job(denoiser__crop=crop), code, crop)

    def test_no_low_dose(self):
        raw = self.folder / "raw"
        raw.write_bytes(bytes(4 * 64 * 64 * 2))
        for part in ("train", "validation", "test"):
            ended = run([DATA, "import", *as_arguments({
                "data.input": raw, "data.output": self.folder / "imported" / part, "data.raw_shape": "4,64,64",
                "data.raw_spacing_mm": "1,1,1"})])
            self.assert_ended(ended, 0)
        self.refuse(self.job(data__folder=self.folder / "imported", run__stages="baseline"), 11,
                    self.folder / "imported", "low-dose", "leda_data simulate")

    def test_image_sides_that_do_not_fit(self):
        self.refuse(self.job(denoiser__crop=40, run__stages="pretrain,denoise"), 11, "40 x 40", "multiples of 16",
                    "denoiser.crop", before_training=False)
        self.refuse(self.job(denoiser__crop=96, run__stages="baseline"), 10, "96", "64 x 64", "crop")
        self.refuse(self.job(data__source="phantoms", data__folder=self.folder / "odd", data__phantom_size=72), 10,
                    "72", "multiple of 16")
        # An autoencoder that halves seven times.
        self.refuse(self.job(autoencoder__multipliers="1,1,1,1,1,1,1,1", run__stages="pretrain"), 11, "64 x 64",
                    "multiples of 128")


class Networks(BadInput):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.trained = cls.shared / "trained"
        cls.wider = cls.shared / "wider"
        steps = {"autoencoder__num_steps": 4, "denoiser__num_steps": 4}
        for folder, options in ((cls.trained, {}), (cls.wider, {"autoencoder__channels": 12, "denoiser__channels": 8})):
            ended = run(cls.command(run_folder=folder, run__stages="pretrain,baseline", **steps, **options))
            if ended.code != 0:
                raise AssertionError(ended)
        cls.autoencoder = cls.trained / "pretrain" / "autoencoder.safetensors"

    def refuse_resume(self, command, code, *words, ranks=(None,)):
        for number in ranks:
            self.assert_refused(run(command, ranks=number, timeout=TIME_LIMIT), code, *words)

    def test_checkpoint_of_another_network(self):
        for stage, training in (("pretrain", "pretrain"), ("baseline", "without_leda")):
            folder = self.folder / training
            shutil.copytree(self.wider / training, folder / training)
            self.refuse_resume(self.job(run_folder=folder, run__stages=stage), 11, folder / training / "checkpoints",
                               "of another network", "--new-run")

    def test_vocabulary_of_another_width(self):
        narrow = write_vocabulary(self.folder / "narrow.h5", 100)
        run_folder = self.folder / "run"
        shutil.copytree(self.trained, run_folder)
        self.refuse_resume(self.job(vocabulary__file=narrow, run__stages="pretrain"), 10, "vocabulary.file",
                           "was 'builtin'", narrow)
        # The same where the run has forgotten its options.
        (run_folder / "options.cfg").unlink()
        self.refuse_resume(self.job(vocabulary__file=narrow, run__stages="pretrain", autoencoder__num_steps=8), 11,
                           run_folder / "pretrain" / "checkpoints", "of another network")

    def test_damaged_vocabulary(self):
        file = write_vocabulary(self.folder / "words.h5", 384, hash="0" * 16)
        self.refuse(self.job(vocabulary__file=file), 11, file, "hash", "0" * 16)
        self.refuse(self.job(vocabulary__file=write_vocabulary(file, 384, version=3)), 11, file, "version", "3")
        os.truncate(file, file.stat().st_size // 2)
        self.refuse(self.job(vocabulary__file=file), 11, file, "truncated")
        self.refuse(self.job(vocabulary__file=self.folder / "none.h5"), 11, self.folder / "none.h5", "builtin")

    def test_autoencoder_that_is_missing_or_no_autoencoder(self):
        missing = self.folder / "none.safetensors"
        self.refuse(self.job(leda__autoencoder=missing, run__stages="denoise"), 11, missing, "leda.autoencoder")
        self.refuse(self.job(run__stages="denoise"), 11, "autoencoder.safetensors does not exist", "add pretrain")
        denoiser = self.trained / "without_leda" / "denoiser.safetensors"
        self.refuse(self.job(leda__autoencoder=denoiser, run__stages="denoise"), 11, denoiser, "leda-denoiser")
        cut = self.folder / "cut.safetensors"
        cut.write_bytes(self.autoencoder.read_bytes()[:-1])
        self.refuse(self.job(leda__autoencoder=cut, run__stages="denoise"), 11, cut)

    def test_autoencoder_of_another_window(self):
        self.refuse(self.job(leda__autoencoder=self.autoencoder, data__window="abdomen", run__stages="denoise"), 10,
                    "leda.autoencoder", "data.window", "abdomen")


class Folders(BadInput):
    def test_unwritable_run_folder(self):
        file = self.folder / "file"
        file.write_text("in the way")
        self.refuse(self.job(run_folder=file / "run"), 12, file)
        self.refuse(self.job(run_folder="/proc/nothing/run"), 12, "/proc/nothing")

    def test_file_size_limit(self):
        # The limit is below a checkpoint and above what Open MPI itself needs.
        limited = ["bash", "-c", 'ulimit -f 10000; exec "$@"', "limited"]
        job = self.job(autoencoder__channels=32)
        for ranks in ([], ["mpirun", "-np", "2"]):
            self.refuse([*limited, *ranks, *job], 12, self.folder / "run", "File too large", "ulimit -f")

    def test_full_disk(self):
        disk = self.folder / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "leda_test", str(disk)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
            self.skipTest("mounting a file system is not permitted; the file-size limit covers the rest")
        try:
            for number in (None, 2):
                ended = run(self.job(run_folder=disk / "run"), ranks=number, timeout=TIME_LIMIT)
                self.assert_refused(ended, 12, disk / "run", "No space left", "free space")
                self.assertEqual(checkpoints(disk / "run" / "pretrain"), [])
        finally:
            subprocess.run(["umount", str(disk)], check=True)


class OneRank(BadInput):
    def refuse_on_rank(self, bad_rank, bad, code, *words):
        """Two ranks with their own command lines, one of them wrong."""
        commands = [self.job(), self.job()]
        commands[bad_rank] = bad
        both = ["mpirun", "-np", "1", *commands[0], ":", "-np", "1", *commands[1]]
        message = self.assert_refused(run(both, timeout=TIME_LIMIT), code, *words)
        if bad_rank != 0:  # rank 0 may speak for all
            self.assertIn(f"rank {bad_rank}", message)

    def test_that_lacks_data_ends_the_job(self):
        """One command line, but a relative folder that one rank's host does not have."""
        has, lacks = self.folder / "has", self.folder / "lacks"
        for host in (has, lacks):
            host.mkdir()
        (has / "shards").symlink_to(self.data)
        command = self.job(data__folder="shards")
        for bad_rank, hosts in enumerate(((lacks, has), (has, lacks))):
            both = ["mpirun", "-np", "1", "--wdir", hosts[0], *command, ":", "-np", "1", "--wdir", hosts[1], *command]
            message = self.assert_refused(run(both, timeout=TIME_LIMIT), 11, "shards/train")
            if bad_rank != 0:  # rank 0 may speak for all
                self.assertIn(f"rank {bad_rank}", message)

    def test_that_lacks_the_option_file_ends_the_job(self):
        bad = [TRAIN, "--config", self.folder / "none.cfg"]
        self.refuse_on_rank(1, bad, 10, self.folder / "none.cfg")

    def test_that_has_other_options_ends_the_job(self):
        both = ["mpirun", "-np", "1", *self.job(run__stages="baseline"),
                ":", "-np", "1", *self.job(run__stages="baseline", denoiser__channels=7)]
        for start in ("new", "resumed"):
            with self.subTest(start):
                self.assert_refused(run(both, timeout=TIME_LIMIT), 13, "options")
                self.assertEqual(checkpoints(self.folder / "run" / "without_leda"), [])


class Console(BadInput):
    def test_a_message_that_cannot_be_written_does_not_change_the_code(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([TRAIN, "--denoiser.chanels=3"], stdin=subprocess.DEVNULL, stdout=full, stderr=full,
                                  env=environment(), timeout=TIME_LIMIT)
        self.assertEqual(done.returncode, 10)


class Locales(BadInput):
    def dump(self, locale):
        ended = run([TRAIN, "--leda.weight=0.25", "--denoiser.learning_rate", "1.5e-4", "--dump-config"],
                    variables={"LC_ALL": locale, "LANG": locale})
        self.assert_ended(ended, 0)
        return ended.output

    def test_numbers_are_read_and_written_alike_in_every_locale(self):
        wanted = self.dump("C")
        self.assertIn("leda.weight = 0.25\n", wanted)
        known = subprocess.run(["locale", "-a"], capture_output=True, text=True).stdout.split()
        comma = [name for name in known if name.lower() in ("de_de.utf8", "de_de.utf-8", "fr_fr.utf8")]
        for locale in ("xx_YY.UTF-8", "C.UTF-8", *comma):
            self.assertEqual(self.dump(locale), wanted, locale)

    def test_an_unknown_locale_is_no_obstacle_to_a_job(self):
        ended = run(self.job(run__stages="baseline,evaluate", denoiser__num_steps=4), ranks=2,
                    variables={"LC_ALL": "xx_YY.UTF-8"})
        self.assert_ended(ended, 0)
        self.assertRegex(ended.output, r"low dose +- +\d+\.\d\d ")


if __name__ == "__main__":
    unittest.main(verbosity=2)
