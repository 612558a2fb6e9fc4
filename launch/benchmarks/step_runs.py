"""Starts training steps of this project and of PyTorch DistributedDataParallel, and reads what they measured."""

import json
import os
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from support.revision import REPOSITORY

PROGRAM = Path(os.environ.get("LEDA_BINARY_FOLDER", REPOSITORY / "build")) / "bin" / "distributed_benchmark"
DDP_PYTHON = REPOSITORY / ".deps" / "python" / "bin" / "python"
DDP_SCRIPT = REPOSITORY / "tests" / "benchmarks" / "ddp_step.py"
TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Network:
    name: str
    channels: int
    size: int
    rank_batch: int = 1


@dataclass(frozen=True)
class DdpSetting:
    bucket_megabytes: int = 25
    gradient_as_bucket_view: bool = False
    static_graph: bool = False

    @property
    def name(self):
        words = [f"buckets of {self.bucket_megabytes} MB"]
        words += ["gradient_as_bucket_view"] if self.gradient_as_bucket_view else []
        words += ["static_graph"] if self.static_graph else []
        return ", ".join(words)


class RunFailed(RuntimeError):
    """A measured program ended with an error; its output is the text."""


def environment(**variables):
    """Of both sides alike. Waiting ranks yield, as gloo's do, because ranks may outnumber cores."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMPI_MCA_mpi_yield_when_idle": "1",
            "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none",
            "OMPI_MCA_btl_vader_single_copy_mechanism": "none", **variables}


def read_result(path, started):
    result = json.loads(Path(path).read_text())
    if "first_step_end" in result:
        result["launch_seconds"] = result.pop("first_step_end") - started
    return result


def run_program(arguments, num_ranks, prefix=(), mpirun_options=()):
    """The JSON object that distributed_benchmark wrote. `prefix` goes before mpirun (a network namespace, say)."""
    with tempfile.TemporaryDirectory() as folder:
        result = os.path.join(folder, "result.json")
        command = [*prefix, "mpirun", "-np", str(num_ranks), *mpirun_options, str(PROGRAM), *arguments,
                   f"--{arguments[0]}.result={result}"]
        started = time.monotonic()
        done = subprocess.run(command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=TIMEOUT_SECONDS, check=False)
        if done.returncode != 0:
            raise RunFailed(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        return read_result(result, started)


def step_arguments(network, num_steps, **options):
    options = {"step.channels": network.channels, "step.size": network.size, "step.rank_batch": network.rank_batch,
               "step.num_steps": num_steps, **options}
    return ["step", *(f"--{name}={value}" for name, value in options.items())]


def run_leda(network, num_ranks, num_steps, prefix=(), mpirun_options=(), **options):
    return run_program(step_arguments(network, num_steps, **options), num_ranks, prefix, mpirun_options)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ddp_command(network, num_steps, setting, result):
    command = [str(DDP_PYTHON), str(DDP_SCRIPT), "--result", result, "--channels", str(network.channels),
               "--size", str(network.size), "--rank_batch", str(network.rank_batch), "--num_steps", str(num_steps),
               "--bucket_megabytes", str(setting.bucket_megabytes)]
    command += ["--gradient_as_bucket_view"] if setting.gradient_as_bucket_view else []
    command += ["--static_graph"] if setting.static_graph else []
    return command


def run_ddp(network, num_ranks, num_steps, setting):
    """The processes are started directly, which is faster than torchrun."""
    with tempfile.TemporaryDirectory() as folder:
        result = os.path.join(folder, "result.json")
        command = ddp_command(network, num_steps, setting, result)
        port = str(free_port())
        started = time.monotonic()
        ranks = []
        for rank in range(num_ranks):
            variables = environment(RANK=str(rank), WORLD_SIZE=str(num_ranks), MASTER_ADDR="127.0.0.1",
                                    MASTER_PORT=port, GLOO_SOCKET_IFNAME="lo")
            log = open(os.path.join(folder, f"rank_{rank}.log"), "w+", encoding="utf-8")
            ranks.append((subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=log,
                                           stderr=subprocess.STDOUT), log))
        try:
            codes = [process.wait(timeout=TIMEOUT_SECONDS) for process, _ in ranks]
        finally:
            for process, _ in ranks:
                process.kill()
        for code, (_, log) in zip(codes, ranks):
            log.seek(0)
            if code != 0:
                raise RunFailed(f"{' '.join(command)}\n{log.read()}")
            log.close()
        return read_result(result, started)
