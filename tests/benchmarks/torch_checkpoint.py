"""The state of checkpoint_benchmark.cpp saved and loaded by torch.save and by torch.distributed.checkpoint.

usage: python torch_checkpoint.py --folder FOLDER --num_bytes N --num_tensors N --num_repeats N --result FILE

Seconds of each repeat after one that is not counted. Saves end with an fsync, as those of the store do; files are read
from the disk, as far as the system can be persuaded to.
"""

import argparse
import json
import os
import shutil
import time
import warnings

import torch
import torch.distributed.checkpoint as distributed_checkpoint

warnings.filterwarnings("ignore")


def make_state(num_bytes, num_tensors):
    length = num_bytes // 4 // (3 * num_tensors)
    state = {}
    for kind, shift in (("weight", 0.1), ("first_moment", 0.2), ("second_moment", 0.3)):
        for number in range(num_tensors):
            values = torch.arange(length, dtype=torch.float64).mul_(0.61803398875).add_(shift + number).sin_()
            state[f"{kind}.{number}"] = values.float()
    return state


def sync_folder(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def forget(folder):
    for place, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(os.path.join(place, name), os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def seconds_of(work):
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def save_with_torch(state, folder):
    with open(os.path.join(folder, "state.pt"), "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(folder)


def save_distributed(state, folder):
    # FileSystemWriter calls fsync for its files.
    distributed_checkpoint.save(state, checkpoint_id=folder)
    sync_folder(folder)


def measure(state, folder, save, load):
    os.makedirs(folder)
    try:
        save_seconds = seconds_of(lambda: save(state, folder))
        forget(folder)
        return save_seconds, seconds_of(lambda: load(state, folder))
    finally:
        shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", required=True)
    parser.add_argument("--num_bytes", type=int, required=True)
    parser.add_argument("--num_tensors", type=int, required=True)
    parser.add_argument("--num_repeats", type=int, required=True)
    parser.add_argument("--result", required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    state = make_state(options.num_bytes, options.num_tensors)
    ways = {"torch": (save_with_torch, lambda _, folder: torch.load(os.path.join(folder, "state.pt"))),
            "distributed": (save_distributed,
                            lambda found, folder: distributed_checkpoint.load(found, checkpoint_id=folder))}
    repeats = []
    for number in range(options.num_repeats + 1):
        seconds = {}
        for name, (save, load) in ways.items():
            folder = os.path.join(options.folder, name)
            seconds[f"{name}_save"], seconds[f"{name}_load"] = measure(state, folder, save, load)
        if number > 0:
            repeats.append(seconds)
    with open(options.result, "w", encoding="utf-8") as file:
        json.dump({"repeats": repeats, "torch": torch.__version__}, file)


if __name__ == "__main__":
    main()
