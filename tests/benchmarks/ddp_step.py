"""The step of step_benchmark.cpp with PyTorch DistributedDataParallel over gloo: same LibTorch, network, weights and data.

usage: RANK=r WORLD_SIZE=n MASTER_ADDR=host MASTER_PORT=port python ddp_step.py --result FILE [OPTIONS]

Started once a rank. Rank 0 writes the JSON object that distributed_benchmark writes.
"""

import argparse
import json
import math
import os
import time

import torch
import torch.distributed as distributed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

LEARNING_RATE = 1e-4


class RedCnn(nn.Module):
    """Chen et al., IEEE TMI 36(12), 2017; parameters in the order of src/models/red_cnn.cpp."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.ModuleList(nn.Conv2d(1 if i == 0 else channels, channels, 5) for i in range(5))
        self.tconv = nn.ModuleList(nn.ConvTranspose2d(channels, 1 if i == 4 else channels, 5) for i in range(5))

    def forward(self, low_dose):
        c1 = torch.relu(self.conv[0](low_dose))
        c2 = torch.relu(self.conv[1](c1))
        c3 = torch.relu(self.conv[2](c2))
        c4 = torch.relu(self.conv[3](c3))
        c5 = torch.relu(self.conv[4](c4))
        d1 = self.tconv[0](c5) + c4
        d2 = self.tconv[1](torch.relu(d1))
        d3 = self.tconv[2](torch.relu(d2)) + c2
        d4 = self.tconv[3](torch.relu(d3))
        d5 = self.tconv[4](torch.relu(d4)) + low_dose
        return torch.relu(d5)


def wave(count, frequency, phase):
    return torch.arange(count, dtype=torch.float64).mul(frequency).add(phase).sin()


def set_weights(network):
    with torch.no_grad():
        for index, tensor in enumerate(network.parameters()):
            bound = 1.0 / math.sqrt(tensor.numel() // tensor.size(0)) if tensor.dim() > 1 else 0.01
            tensor.copy_(wave(tensor.numel(), 0.7, float(index)).mul(bound).view(tensor.shape))


def make_images(options, rank):
    count = options.rank_batch * options.size**2
    normal_dose = wave(count, 0.01, rank).mul(0.4).add(0.5)
    low_dose = normal_dose + wave(count, 1.3, rank).mul(0.1)
    shape = (options.rank_batch, 1, options.size, options.size)
    return low_dose.float().view(shape), normal_dose.float().view(shape)


def peak_memory_bytes():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM:"))


def read_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--result", required=True)
    parser.add_argument("--channels", type=int, default=96)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rank_batch", type=int, default=1)
    parser.add_argument("--num_steps", type=int, default=8)
    parser.add_argument("--num_threads", type=int, default=1)
    parser.add_argument("--bucket_megabytes", type=float, default=25.0)
    parser.add_argument("--gradient_as_bucket_view", action="store_true")
    parser.add_argument("--static_graph", action="store_true")
    return parser.parse_args()


def main():
    options = read_options()
    torch.set_num_threads(options.num_threads)
    distributed.init_process_group("gloo")
    rank, num_ranks = distributed.get_rank(), distributed.get_world_size()
    network = RedCnn(options.channels)
    set_weights(network)
    replicated = DistributedDataParallel(
        network, bucket_cap_mb=options.bucket_megabytes, gradient_as_bucket_view=options.gradient_as_bucket_view,
        static_graph=options.static_graph)
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8, fused=True)
    low_dose, normal_dose = make_images(options, rank)

    times, processor_times, losses, first_step_end = [], [], [], 0.0
    for step in range(options.num_steps):
        processor_begin = time.process_time()
        begin = time.monotonic()
        optimiser.zero_grad()
        loss = (replicated(low_dose) - normal_dose).square().flatten(1).mean(1).sum() / options.rank_batch
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        end = time.monotonic()
        if step == 0:
            first_step_end = end
        times.append(end - begin)
        processor_times.append(time.process_time() - processor_begin)

    memory = [torch.zeros(1, dtype=torch.int64) for _ in range(num_ranks)]
    distributed.all_gather(memory, torch.tensor([peak_memory_bytes()]))
    if rank == 0:
        with open(options.result, "w", encoding="ascii") as file:
            json.dump({"step_seconds": times, "processor_seconds": processor_times, "losses": losses, "first_step_end": first_step_end,
                       "num_parameters": sum(p.numel() for p in network.parameters()),
                       "peak_memory_bytes": [int(bytes_) for bytes_ in memory], "libtorch": torch.__version__}, file)
    distributed.barrier()
    # Without gloo's own tear-down, in which a rank now and then dies ("terminate called without an active exception").
    os._exit(0)


if __name__ == "__main__":
    main()
