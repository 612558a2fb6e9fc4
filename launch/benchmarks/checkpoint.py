"""What launch/benchmark checkpoint measures: python checkpoint.py [OPTIONS], see launch/benchmark --help."""

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launch/, wherever this is started from

from benchmarks import checkpoint_page, scaling_model as model  # noqa: E402
from benchmarks.distributed import machine, say  # noqa: E402
from benchmarks.step_runs import DDP_PYTHON, PROGRAM, RunFailed, environment, run_program  # noqa: E402
from support.revision import REPOSITORY, commit  # noqa: E402

TORCH_SCRIPT = REPOSITORY / "tests" / "benchmarks" / "torch_checkpoint.py"
TIMEOUT_SECONDS = 900


def run_store(folder, options, num_ranks, max_file_bytes):
    """Seconds of each repeat: of the store, and of plain files of the same bytes."""
    arguments = {"folder": folder / "store", "num_bytes": options.bytes, "num_tensors": options.tensors,
                 "num_repeats": options.repeats, "max_file_bytes": max_file_bytes}
    return run_program(["checkpoint", *(f"--checkpoint.{name}={value}" for name, value in arguments.items())],
                       num_ranks)["repeats"]


def run_torch(folder, options):
    """Seconds of each repeat of torch.save and torch.distributed.checkpoint."""
    result = folder / "torch.json"
    command = [str(DDP_PYTHON), str(TORCH_SCRIPT), "--folder", str(folder / "torch"), "--num_bytes", str(options.bytes),
               "--num_tensors", str(options.tensors), "--num_repeats", str(options.repeats), "--result", str(result)]
    done = subprocess.run(command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=TIMEOUT_SECONDS, check=False)
    if done.returncode != 0:
        raise RunFailed(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return json.loads(result.read_text())["repeats"]


def store_entry(name, num_ranks, repeats):
    """Medians over repeats; shares are medians of each repeat's share."""
    seconds = {key: model.median([repeat[key] for repeat in repeats]) for key in repeats[0]}
    shares = {"save": [repeat["plain_write"] / repeat["save"] for repeat in repeats],
              "load": [repeat["plain_read"] / repeat["load"] for repeat in repeats]}
    return {"name": name, "num_ranks": num_ranks, "num_repeats": len(repeats), "seconds": seconds,
            "share": {key: model.median(values) for key, values in shares.items()},
            "share_range": {key: [min(values), max(values)] for key, values in shares.items()}}


def measure_throughput(folder, options):
    """The store in one file an archive, and split over ranks, beside PyTorch; in turns."""
    large, small = 1 << 40, options.bytes // 8
    runs = {"one rank, one file an archive": lambda: run_store(folder, options, 1, large),
            "one rank, archives split": lambda: run_store(folder, options, 1, small),
            "2 ranks, archives split": lambda: run_store(folder, options, 2, small)}
    if DDP_PYTHON.exists():
        runs["PyTorch"] = lambda: run_torch(folder, options)
    found = {name: [] for name in runs}
    for number in range(options.rounds):
        say(f"throughput: round {number + 1} of {options.rounds}")
        for name in list(runs) if number % 2 == 0 else list(runs)[::-1]:
            found[name] += runs[name]()
    torch = found.pop("PyTorch", [])
    entries = [store_entry(name, 2 if name.startswith("2") else 1, repeats) for name, repeats in found.items()]
    return entries, {key: model.median([repeat[key] for repeat in torch]) for key in (torch[0] if torch else {})}


def measure_pause(folder, options):
    """What checkpoints cost a training: the embedded job's denoiser, with saves more often than any default."""
    run_folder = folder / "run"
    cadence = 50
    train = str(PROGRAM.parent / "leda_dist_train")
    command = ["mpirun", "-np", "2", train, "--config", str(REPOSITORY / "configs" / "quickstart.cfg"),
               f"--run.folder={run_folder}", f"--data.folder={folder / 'data'}", "--run.stages=baseline",
               f"--denoiser.num_steps={options.steps}", f"--checkpoint.every_num_steps={cadence}"]
    began = time.monotonic()
    done = subprocess.run(command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=TIMEOUT_SECONDS, check=False)
    if done.returncode != 0:
        raise RunFailed(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    seconds = time.monotonic() - began
    lines = [json.loads(line) for line in (run_folder / "without_leda" / "log.jsonl").read_text().splitlines()]
    saves = [line for line in lines if line.get("event") == "checkpoint" and line["step"] < options.steps]
    steps = [line for line in lines if "images_per_second" in line]
    step_seconds = (steps[-1]["time"] - steps[0]["time"]) / (steps[-1]["step"] - steps[0]["step"])
    pause = model.median([line["checkpoint_pause_seconds"] for line in saves])
    return {"num_saves": len(saves), "cadence": cadence, "run_seconds": seconds, "step_seconds": step_seconds,
            "num_bytes": saves[0]["checkpoint_bytes"], "pause_seconds": pause,
            "write_seconds": model.median([line["checkpoint_write_seconds"] for line in saves]),
            "share": pause / (cadence * step_seconds + pause),
            "share_at_default": pause / (checkpoint_page.DEFAULT_CADENCE * step_seconds + pause)}


def read_options():
    parser = argparse.ArgumentParser(usage="launch/benchmark checkpoint [OPTIONS], see launch/benchmark --help")
    parser.add_argument("--bytes", type=int, default=256 << 20)
    parser.add_argument("--tensors", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "build")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs" / "results")
    options = parser.parse_args()
    if min(options.rounds, options.repeats, options.tensors) < 1 or options.steps < 150:
        parser.error("at least one round, one repeat, one tensor and 150 steps")
    return options


def main():
    options = read_options()
    arguments = re.sub(r"--output[ =]\S+ ?", "", " ".join(sys.argv[1:]))
    report = {"machine": machine(), "command": f"launch/benchmark checkpoint {arguments}".strip(), "commit": commit(),
              "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}",
              "load_at_start": os.getloadavg()[0], "num_bytes": options.bytes, "num_tensors": 3 * options.tensors}
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="checkpoint_benchmark_") as folder:
        report["store"], report["torch"] = measure_throughput(Path(folder), options)
        say("pause in a training")
        report["training"] = measure_pause(Path(folder), options)
    report["load_at_end"] = os.getloadavg()[0]
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "benchmark_checkpoint.json").write_text(json.dumps(report, indent=1) + "\n")
    page = checkpoint_page.page_of(report)
    (options.output / "benchmark_checkpoint.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
