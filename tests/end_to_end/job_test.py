"""A whole job: the same on any number of ranks, and everything it promises to leave behind.

usage: python job_test.py
"""

import json
import math
import re
import sys
import unittest
from pathlib import Path

import numpy as np
from safetensors import safe_open
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from leda_job import (PHANTOM_OPTIONS, REPOSITORY, TRAIN, TRAININGS, JobTestCase, checkpoints, log_lines,  # noqa: E402
                      run)

# Differ from run to run; all other figures of a log must not.
MEASURED = ("time", "images_per_second", "data_wait_share", "exposed_communication_share")


def options_of(dump):
    """name: value of a --dump-config, or of any option file."""
    lines = [line.split(" = ", 1) for line in dump.replace(" =\n", " = \n").splitlines() if not line.startswith("#")]
    return {line[0]: line[1] for line in lines if len(line) == 2}


def numbers_in(value, path=""):
    """All numbers of a JSON value with the way to them."""
    if isinstance(value, dict):
        return [pair for key, entry in value.items() for pair in numbers_in(entry, f"{path}/{key}")]
    if isinstance(value, list):
        return [pair for i, entry in enumerate(value) for pair in numbers_in(entry, f"{path}/{i}")]
    return [(path, value)] if isinstance(value, (int, float)) and not isinstance(value, bool) else []


class Options(JobTestCase):
    def test_without_arguments_it_is_the_quickstart_file(self):
        embedded = run([TRAIN, "--dump-config"])
        from_file = run([TRAIN, "--config", REPOSITORY / "configs" / "quickstart.cfg", "--dump-config"])
        self.assert_ended(embedded, 0)
        self.assertEqual(embedded.output, from_file.output)
        written = options_of((REPOSITORY / "configs" / "quickstart.cfg").read_text())
        self.assertGreater(len(written), 10)
        dumped = options_of(embedded.output)
        for name, value in written.items():
            if re.fullmatch(r"[\d.e+-]+", value):
                self.assertEqual(float(dumped[name]), float(value), name)
            else:
                self.assertEqual(dumped[name], value, name)

    def test_dump_reads_back(self):
        dump = run(self.job("--dump-config", leda__weight=0.1, data__window="-200:300", run__stages="pretrain"))
        self.assert_ended(dump, 0)
        file = self.folder / "dumped.cfg"
        file.write_text(dump.output)
        again = run([TRAIN, "--config", file, "--dump-config"])
        self.assertEqual(again.output, dump.output)
        self.assertEqual(options_of(dump.output)["leda.weight"], "0.1")

    def test_help_names_every_option_and_action(self):
        screen, ended = run([TRAIN, "--help"], ranks=2), run([TRAIN, "--help", "all"], ranks=2)
        self.assert_ended(screen, 0)
        self.assert_ended(ended, 0)
        names = options_of(run([TRAIN, "--dump-config"]).output)
        self.assertGreater(len(names), 60)
        for name in names:
            self.assertIn(f"--{name}\n", ended.output)
        for name in ("dry-run", "new-run", "report", "dump-config", "version", "quiet", "help SECTION"):
            self.assertIn(f"--{name}", screen.output)
        self.assertEqual(screen.output.count("leda_dist_train: trains"), 1, "rank 0 alone speaks")

    def test_version_is_that_of_the_project(self):
        ended = run([TRAIN, "--version"])
        self.assert_ended(ended, 0)
        version = re.search(r"project\(\w+ VERSION ([\d.]+)", (REPOSITORY / "CMakeLists.txt").read_text())[1]
        self.assertEqual(ended.output.strip(), f"leda_dist_train {version}")

    def test_command_line_outranks_the_file_whatever_its_place(self):
        file = self.folder / "job.cfg"
        file.write_text("[denoiser]\nchannels = 7\n\n# a comment\n[leda]\nweight = 0.25\n")
        ended = run([TRAIN, "--denoiser.channels", "9", "--config", file, "--dump-config"])
        options = options_of(ended.output)
        self.assertEqual((options["denoiser.channels"], options["leda.weight"]), ("9", "0.25"))


class FinishedJob(JobTestCase):
    """Reads what one job on two ranks left, float64, phantoms written by itself."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.run_folder = cls.shared / "two_ranks"
        cls.first = run(cls.command(), ranks=2)
        if cls.first.code != 0:
            raise AssertionError(cls.first)

    @classmethod
    def command(cls, *actions, run_folder=None, **options):
        return super().command(*actions, run_folder=run_folder or cls.run_folder, training__precision="float64",
                               **PHANTOM_OPTIONS, **options)

    def times_of_everything(self):
        return {path: path.stat().st_mtime_ns for path in self.run_folder.rglob("*")
                if path.is_file() and path.name not in ("options.cfg", "lock.json")}

    def test_other_numbers_of_ranks_give_the_same_job(self):
        evaluation = json.loads((self.run_folder / "evaluation" / "evaluation.json").read_text())
        wanted = numbers_in(evaluation)
        self.assertGreater(len(wanted), 100)
        for ranks in (1, 8):  # 4: launch/campaign resume elastic
            with self.subTest(ranks=ranks):
                folder = self.folder / str(ranks)
                ended = run(self.command(run_folder=folder), ranks=ranks, timeout=150)
                self.assert_ended(ended, 0)
                # Once at the start of each of the three trainings.
                self.assertEqual(len(re.findall(r"4 of 8 ranks have no image", ended.output)), 3 if ranks == 8 else 0)
                found = numbers_in(json.loads((folder / "evaluation" / "evaluation.json").read_text()))
                self.assertEqual([path for path, _ in found], [path for path, _ in wanted])
                for (path, value), (_, other) in zip(found, wanted):
                    self.assertTrue(math.isclose(value, other, rel_tol=1e-6, abs_tol=1e-6), f"{path}: {value}, {other}")
                for training in TRAININGS:
                    self.assert_same_figures(log_lines(folder / training), log_lines(self.run_folder / training),
                                             training)

    def assert_same_figures(self, lines, others, training):
        # Checkpoints are written behind the steps, and reported when they are done.
        lines, others = ([line for line in log if line.get("event") != "checkpoint"] for log in (lines, others))
        self.assertEqual(len(lines), len(others))
        for line, other in zip(lines, others):
            self.assertEqual(list(line), list(other))
            for name in set(line) - set(MEASURED) - {"event"}:
                place = f"{training}, step {line['step']}, {name}: {line[name]}, {other[name]}"
                self.assertTrue(math.isclose(line[name], other[name], rel_tol=1e-6, abs_tol=1e-9), place)

    def test_a_finished_run_prints_its_table_and_trains_nothing(self):
        before = self.times_of_everything()
        table = (self.run_folder / "evaluation" / "evaluation.txt").read_text()
        for command in (self.command(), self.command("--report")):
            ended = run(command, ranks=2)
            self.assert_ended(ended, 0)
            self.assertIn(table.strip(), ended.output)
            self.assertEqual(ended.output.count("finished"), 1)
        self.assertEqual(self.times_of_everything(), before)

    def test_new_run_gets_a_folder_beside_the_old_one(self):
        before = self.times_of_everything()
        folder = self.shared / "two_ranks-2"
        ended = run(self.command("--new-run", run__stages="baseline", denoiser__num_steps=4))
        self.assert_ended(ended, 0)
        self.assertEqual(len(checkpoints(folder / "without_leda")), 1)
        self.assertEqual(self.times_of_everything(), before)

        # The newest run is the one that the next command and a report are about.
        ended = run(self.command("--report", run__stages="baseline", denoiser__num_steps=4))
        self.assertIn(f"run in {folder}: finished", ended.output)

    def test_report_of_a_run_that_is_not_there_is_refused(self):
        self.assert_refused(run(self.command("--report", run_folder=self.folder / "none")), 10, self.folder / "none")

    def test_dry_run_checks_everything_and_leaves_nothing_trained(self):
        ended = run(self.command("--dry-run", run_folder=self.folder / "dry"), ranks=2)
        self.assert_ended(ended, 0)
        for training in ("stage 1", "stage 2 without LEDA", "stage 2 with LEDA"):
            self.assertRegex(ended.output, rf"{training}: data, networks, and a checkpoint written and read: in order")
        left = [path.name for path in (self.folder / "dry").rglob("*") if path.is_file()]
        self.assertIn(left, ([], ["lock.json"]))

        # Nothing of it is in the way of the run that follows.
        ended = run(self.command(run_folder=self.folder / "dry", run__stages="baseline", denoiser__num_steps=4))
        self.assert_ended(ended, 0)

    def test_options_are_printed_before_the_first_step(self):
        options = options_of((self.run_folder / "options.cfg").read_text())
        before, _, _ = self.first.output.partition("step 1/")
        for name, value in options.items():
            self.assertIn(f"  {name} = {value}".rstrip(), before)
        self.assertEqual(self.first.output.count("leda_dist_train "), 1, "rank 0 alone speaks")
        self.assertIn("2 ranks x 1 thread", self.first.output)

    def test_a_log_gets_plain_lines(self):
        # mpirun gives its ranks a terminal of their own, whatever its own output is.
        self.assertNotIn("\x1b", self.first.output)
        self.assertNotIn("\r", self.first.output)
        self.assertRegex(self.first.output, r"(?m)^stage 1 +100 % +step 12/12  loss [\d.e+-]+, [\d.]+ images/s")

    def test_table_has_five_rows_and_says_what_it_is_about(self):
        table = (self.run_folder / "evaluation" / "evaluation.txt").read_text()
        self.assertIn(table.strip(), self.first.output)
        for row in ("low dose", "best Gaussian", "non-local means", "without LEDA", "with LEDA"):
            self.assertEqual(len(re.findall(rf"^{row} +[-1] +[\d.]+ ", table, re.MULTILINE)), 2, row)
        self.assertRegex(table, r"Window leda \[-1000, 2000\] HU, dose 25 %")
        self.assertRegex(table, r"inside the body of 4 test slices of 1 patient")
        self.assertRegex(table, r"RMSE of the low dose: [\d.]+ HU against normal dose, [\d.]+ HU against noise free")
        picture = self.run_folder / "evaluation" / "comparison.png"
        self.assertIn(str(picture), self.first.output)
        self.assertEqual(picture.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")

    def test_tensorboard_file_has_the_numbers_of_the_log(self):
        for training in TRAININGS:
            events = str(self.run_folder / training / "tensorboard")
            accumulator = EventAccumulator(events, size_guidance={"scalars": 0})
            accumulator.Reload()
            found = {(tag, event.step): event.value
                     for tag in accumulator.Tags()["scalars"] for event in accumulator.Scalars(tag)}
            logged = {(name, line["step"]): value for line in log_lines(self.run_folder / training)
                      for name, value in line.items() if name not in ("time", "step", "event")}
            self.assertEqual(found.keys(), logged.keys())
            self.assertIn(("loss", 12), logged)
            for key, value in logged.items():
                self.assertEqual(found[key], float(np.float32(value)), key)

    def names_in(self, file):
        with safe_open(file, "np") as archive:
            names = set(archive.keys())
            for name in names:
                self.assertTrue(np.isfinite(archive.get_tensor(name)).all(), f"{file.name}: {name}")
            return names, archive.metadata(), {name: archive.get_tensor(name) for name in names}

    def test_network_files_are_read_by_the_safetensors_package(self):
        autoencoder, about, tensors = self.names_in(self.run_folder / "pretrain" / "autoencoder.safetensors")
        self.assertLessEqual({"encoder.conv_in.weight", "decoder.conv_out.weight", "quant_conv.weight",
                              "post_quant_conv.weight", "quantize.embedding.weight"}, autoencoder)
        self.assertEqual(json.loads(about["options"])["strides"], [4, 2, 1])
        self.assertEqual((float(about["window_low_hu"]), float(about["window_high_hu"])), (-1000.0, 2000.0))
        self.assertEqual(tensors["quantize.embedding.weight"].shape, (1500, 384))
        self.assertEqual(tensors["quantize.embedding.weight"].dtype, np.float64)

        for training, weight in (("without_leda", 0.0), ("with_leda", 0.5)):
            denoiser, about, _ = self.names_in(self.run_folder / training / "denoiser.safetensors")
            self.assertGreaterEqual(len(denoiser), 20)  # ten convolutions with their biases
            self.assertEqual(json.loads(about["description"])["channels"], 6)
            self.assertEqual(json.loads(about["description"])["leda_weight"], weight)
            networks, _, _ = self.names_in(checkpoints(self.run_folder / training)[-1] / "networks.safetensors")
            self.assertEqual(networks, {f"denoiser.{name}" for name in denoiser})

        networks, _, saved = self.names_in(checkpoints(self.run_folder / "pretrain")[-1] / "networks.safetensors")
        discriminator = {name for name in networks if name.startswith("discriminator.")}
        # The frozen codebook is in the network's file; a checkpoint has its hash.
        frozen = "autoencoder.quantize.embedding.weight"
        self.assertEqual((networks - discriminator) | {frozen}, {f"autoencoder.{name}" for name in autoencoder})
        self.assertNotIn(frozen, networks)
        self.assertTrue(discriminator)
        for name in saved.keys() - discriminator:
            np.testing.assert_array_equal(saved[name], tensors[name.removeprefix("autoencoder.")])

    def test_the_discriminator_acts_from_its_start_step_on(self):
        logged = {line["step"]: line for line in log_lines(self.run_folder / "pretrain") if "event" not in line}
        # Step 4, counted from 0, is the fifth.
        self.assertEqual([step for step, line in logged.items() if line["discriminator"] != 0.0], list(range(5, 13)))

    def test_the_last_checkpoints_and_the_best_are_kept(self):
        for training in TRAININGS:
            folder = self.run_folder / training / "checkpoints"
            best = json.loads((folder / "best.json").read_text())["step"]
            steps = [int(path.name[5:]) for path in checkpoints(self.run_folder / training)]
            self.assertEqual(steps[-1], 12)
            self.assertIn(best, steps)
            criterion = {"pretrain": "validation_l1_hu"}.get(training, "validation_rmse_hu")
            figures = {line["step"]: line[criterion] for line in log_lines(self.run_folder / training)
                       if line.get("event") == "validation"}
            self.assertEqual(best, min(figures, key=figures.get))


if __name__ == "__main__":
    unittest.main(verbosity=2)
