"""What the end-to-end tests share: programs started with a time limit, a job that takes seconds, its folders.

The environment variable LEDA_BINARY_FOLDER names the build folder; without it, build/ of this repository.
"""

import atexit
import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAMS = Path(os.environ.get("LEDA_BINARY_FOLDER", REPOSITORY / "build")).resolve() / "bin"
TRAIN = str(PROGRAMS / "leda_dist_train")
DATA = str(PROGRAMS / "leda_data")
INJECTOR = PROGRAMS.parent / "lib" / "fault_injector.so"

# Those of launch/environment, and yielding while waiting: here more ranks run than there are cores.
MPI_ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
    "OMPI_MCA_mpi_yield_when_idle": "1",
}

# 12 + 4 + 4 slices of 64 x 64, one latent map of 4 x 4, all three trainings in two to three seconds on one rank.
PHANTOM_OPTIONS = {
    "data.source": "phantoms",
    "data.phantom_size": 64,
    "data.num_train_patients": 3,
    "data.num_validation_patients": 1,
    "data.num_test_patients": 1,
    "data.slices_per_patient": 4,
}
TINY_OPTIONS = {
    "autoencoder.channels": 8,
    "autoencoder.decoder_blocks": 1,
    "autoencoder.strides": "4,2,1",
    "autoencoder.num_steps": 12,
    "autoencoder.learning_rate": 1e-3,
    "discriminator.start_step": 4,
    "discriminator.channels": 8,
    "discriminator.layers": 2,
    "discriminator.learning_rate": 1e-3,
    "denoiser.channels": 6,
    "denoiser.input_scale": 10,
    "denoiser.zero_last_layer": "true",
    "denoiser.num_steps": 12,
    "denoiser.crop": 32,
    "denoiser.learning_rate": 1e-3,
    "training.global_batch": 4,
    "training.validate_every_num_steps": 6,
    "checkpoint.every_num_steps": 4,
    "logging.every_num_steps": 1,
    "evaluation.max_tuning_slices": 2,
    "distributed.threads_per_rank": 1,
}
TRAININGS = ("pretrain", "without_leda", "with_leda")


def endless(stage):
    """Options for a training that only a signal ends.

    All of it is warm-up: a network this small may die in the thousands of steps that a fast machine makes before the
    signal comes, and training rightly stops at that.
    """
    return {f"{stage}__num_steps": 1000000, "training__num_warm_up_steps": 1000000}


class Ended:
    """How a program ended: its exit code as a shell would give it, and what it wrote."""

    def __init__(self, code, output, errors):
        self.code = code if code >= 0 else 128 - code
        self.output = output
        self.errors = errors

    def __str__(self):
        return f"exit code {self.code}\n--- output\n{self.output}\n--- errors\n{self.errors}"


def environment(**variables):
    variables = {**os.environ, **MPI_ENVIRONMENT, **variables}
    return {name: value for name, value in variables.items() if value is not None}


def with_ranks(ranks, command):
    return ["mpirun", "-np", str(ranks), *command] if ranks else list(command)


def descendants(process_id):
    """Of a running process, itself excluded; mpirun gives its ranks process groups of their own."""
    found = []
    for task in Path(f"/proc/{process_id}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found


def kill_all(process):
    """The process and all it started, at once and for good."""
    for process_id in [*descendants(process.pid), process.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)


class Running:
    """A program that was started and goes on by itself; ended with all its ranks when the scope ends."""

    def __init__(self, command, ranks=None, timeout=90, variables=None, **options):
        self.deadline = time.monotonic() + timeout
        self.process = subprocess.Popen(
            with_ranks(ranks, command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment(**(variables or {})), **options,
        )
        self.streams = (self.process.stdout, self.process.stderr)
        self.texts = (bytearray(), bytearray())
        self.readers = [threading.Thread(target=self.read, args=pair, daemon=True)
                        for pair in zip(self.streams, self.texts)]
        for reader in self.readers:
            reader.start()

    @staticmethod
    def read(stream, text):
        while block := stream.read1(1 << 16):
            text += block

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            kill_all(self.process)
            self.process.wait()
        for reader, stream in zip(self.readers, self.streams):
            reader.join(timeout=10)  # ranks of a killed mpirun still hold the other end for a moment
            if not reader.is_alive():
                stream.close()

    @property
    def output(self):
        return bytes(self.texts[0]).decode(errors="replace")

    @property
    def errors(self):
        return bytes(self.texts[1]).decode(errors="replace")

    def ended(self):
        try:
            code = self.process.wait(timeout=max(0.1, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            kill_all(self.process)
            self.process.wait()
            raise AssertionError(f"still running at its time limit\n{self.output}\n{self.errors}") from None
        for reader in self.readers:
            reader.join(timeout=10)
        return Ended(code, self.output, self.errors)

    def wait_until(self, condition):
        """Returns as soon as condition() holds, while the program runs."""
        while not condition():
            if self.process.poll() is not None or time.monotonic() > self.deadline:
                raise AssertionError(f"ended or hung before the awaited moment\n{self.output}\n{self.errors}")
            time.sleep(0.01)

    def ranks(self):
        """Process ids in the order of the ranks."""
        ids = {}
        for process_id in descendants(self.process.pid):
            with contextlib.suppress(OSError):
                variables = Path(f"/proc/{process_id}/environ").read_bytes()
                found = re.search(rb"(?:^|\0)OMPI_COMM_WORLD_RANK=(\d+)", variables)
                if found:
                    ids[int(found[1])] = process_id
        return [ids[rank] for rank in sorted(ids)]


def run(command, ranks=None, timeout=90, variables=None, **options):
    with Running(command, ranks, timeout, variables, **options) as running:
        return running.ended()


def as_arguments(options):
    return [f"--{name}={value}" for name, value in options.items()]


def log_lines(training_folder):
    """log.jsonl as a list; a line still being written is left out."""
    try:
        text = (training_folder / "log.jsonl").read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.split("\n")[:-1]]


def last_step(training_folder):
    return max((line["step"] for line in log_lines(training_folder)), default=0)


def checkpoints(training_folder):
    """Complete ones, oldest first."""
    return sorted((training_folder / "checkpoints").glob("step_*"))


def newest_step(folder):
    saved = checkpoints(folder)
    return int(saved[-1].name.removeprefix("step_")) if saved else 0


def final_files(folder):
    """Manifest, every file that it lists, and what the training hands on; None where there is no end yet."""
    saved = checkpoints(folder)
    if not saved:
        return None
    manifest = saved[-1] / "manifest.json"
    names = [file["name"] for file in json.loads(manifest.read_text())["files"]]
    paths = [manifest, *(saved[-1] / name for name in names), *folder.glob("*.safetensors")]
    return {path.name: path.read_bytes() for path in paths}


def differing_files(found, wanted):
    if found is None:
        return ["no checkpoint"]
    return sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))


@functools.cache
def phantom_shards(size):
    """Train, validation and test as TINY_OPTIONS wants them, written once in this process."""
    folder = tempfile.TemporaryDirectory(prefix="leda_phantoms_")
    atexit.register(folder.cleanup)
    first = 0
    for part, patients in (("train", 3), ("validation", 1), ("test", 1)):
        ended = run([DATA, "phantom", *as_arguments({
            "data.output": Path(folder.name) / part, "data.num_patients": patients, "data.first_patient": first,
            "data.slices_per_patient": 4, "data.slices_per_shard": 4, "data.size": size})])
        if ended.code != 0:
            raise AssertionError(ended)
        first += patients
    return Path(folder.name)


class JobTestCase(unittest.TestCase):
    """A folder for the class, `shared`, with the tiny job's phantoms, and one for each test, `folder`."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        shared = tempfile.TemporaryDirectory(prefix="leda_end_to_end_")
        cls.addClassCleanup(shared.cleanup)
        cls.shared = Path(shared.name)
        cls.data = cls.shared / "data"

    @classmethod
    def write_phantoms(cls, folder=None, size=64):
        shutil.copytree(phantom_shards(size), folder or cls.data)

    def setUp(self):
        self.folder = self.shared / self.id().rsplit(".", 1)[-1]
        self.folder.mkdir()

    @classmethod
    def command(cls, *actions, run_folder, **options):
        """Of a tiny job on the shared shards; the dots in names of options are written __."""
        file = cls.shared / "tiny.cfg"
        if not file.exists():
            file.write_text("".join(f"{name} = {value}\n" for name, value in TINY_OPTIONS.items()))
        options = {name.replace("__", "."): value for name, value in options.items()}
        return [TRAIN, *actions, "--config", str(file), *as_arguments({
            "data.source": "shards", "data.folder": cls.data, "run.folder": run_folder, **options})]

    def job(self, *actions, **options):
        return self.command(*actions, **{"run_folder": self.folder / "run", **options})

    def endless_baseline(self, **options):
        return self.job(run__stages="baseline", **{**endless("denoiser"), **options})

    def assert_ended(self, ended, code):
        self.assertEqual(ended.code, code, ended)

    def assert_refused(self, ended, code, *words):
        """One message, the job's exit code, what it concerns, and what to try."""
        self.assertEqual(ended.code, code, ended)
        messages = re.findall(r"^leda_\w+: error[^:]*: .*(?:\n  .*)*", ended.errors, re.MULTILINE)
        # Ranks that find a fault each by itself wait for the lowest to say it; on a busy machine two may speak.
        different = {re.sub(r" on rank \d+", "", message) for message in messages}
        self.assertEqual(len(different), 1, ended)
        self.assertRegex(messages[0], r"(?m)^  what to try: \S", ended)
        for word in words:
            self.assertIn(str(word), messages[0], ended)
        return messages[0]
