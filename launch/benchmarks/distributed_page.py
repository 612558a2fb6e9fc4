"""The result page of launch/benchmark distributed, from its JSON report. Targets that were missed are called so."""

PARTS = ("ddp", "overlap", "all_reduce", "forecast")
DDP_TARGETS = {"step_seconds": 1.0, "peak_memory_bytes": 0.7, "launch_seconds": 0.5}
OVERLAP_TARGET = 0.5
ALL_REDUCE_TARGET = 1.1
QUIET_SHARE = 0.05  # of other programs in the processors' time


def verdict(value, target):
    return "met" if value <= target else "**missed**"


def head(report):
    machine = report["machine"]
    lines = ["# Distributed training, measured", "",
             f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Linux "
             f"{machine['kernel']}. No GPU. Step times are medians over the runs of each run's median step, the first "
             "two steps left out. Others: share of the processors' time that went to programs besides the measured ones.", "",
             "| part | command | commit | date | steps | others |", "|---|---|---|---|---|---|"]
    for part, record in report["records"].items():
        share = record.get("share_of_others")
        lines.append(f"| {part} | `{record['command']}` | {record['commit']} | {record['date']} | {record['steps']} "
                     f"| {'not recorded' if share is None else f'{100 * share:.1f} %'} |")
    disturbed = [part for part, record in report["records"].items() if record.get("share_of_others", 0) > QUIET_SHARE]
    if disturbed:
        lines += ["", f"**The machine was busy with other work during {', '.join(disturbed)}: those times are disturbed, "
                  "and the verdicts provisional.**"]
    for part in PARTS:
        if part not in report:
            reason = report["left_out"].get(part, "it was not asked for, or the measurement was interrupted before")
            lines += ["", f"Not measured here: {part}, because {reason}."]
    return lines


def ddp_section(entries):
    lines = ["", "## Against PyTorch DistributedDataParallel over gloo", "",
             "One process a rank, one thread each, one image a rank; forward, backward, sum, Adam (both fused). Same "
             "LibTorch 2.11.0, network, weights and images: the losses agree. Ratio: project / DDP, median over pairs. "
             "DDP's best setting of those below is taken; its processes are started without torchrun. Memory: largest "
             "VmHWM of a rank. Launch: from the start of the command to the end of the first step.", "",
             "| network | ranks | pairs | step s, project | DDP | ratio (≤ 1) | memory MiB, project | DDP | "
             "ratio (≤ 0.7) | launch s, project | DDP | ratio (≤ 0.5) |", "|" + "---|" * 12]
    for entry in entries:
        cells = [entry["network"], str(entry["num_ranks"]), str(entry["num_pairs"])]
        for name, scale, digits in (("step_seconds", 1, 3), ("peak_memory_bytes", 2**20, 0), ("launch_seconds", 1, 2)):
            ratio = entry["ratio"][name]
            cells += [f"{entry['leda'][name] / scale:.{digits}f}", f"{entry['ddp'][name] / scale:.{digits}f}",
                      f"{ratio:.3f} {verdict(ratio, DDP_TARGETS[name])}"]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "Processor time is that of rank 0 in a step, spinning while waiting included: the figure that other work "
              "on the machine disturbs least.", "",
              "| network | ranks | DDP's best | spread of the step ratio | processor s, project | DDP | ratio "
              "| loss after the last step, project, DDP |", "|" + "---|" * 8]
    for entry in entries:
        low, high = entry["step_ratio_range"]
        mine, other = entry["last_losses"]
        lines.append(f"| {entry['network']} | {entry['num_ranks']} | {entry['ddp_setting']} | {low:.3f} to {high:.3f} "
                     f"| {entry['leda']['processor_seconds']:.3f} | {entry['ddp']['processor_seconds']:.3f} "
                     f"| {entry['ratio']['processor_seconds']:.3f} | {mine:.6g}, {other:.6g} |")
    return lines


def overlap_section(entries):
    lines = ["", "## Overlap", "",
             "Two ranks on two hosts (network namespaces) joined by a link shaped to 1 Gbit/s. Exposed communication: "
             "step time minus that of the same step with every rank alone beside the other.", "",
             "| network | rounds | step alone s | with overlap s | without s | exposed, with | without | "
             "ratio (≤ 0.5) |", "|" + "---|" * 8]
    for entry in entries:
        seconds, exposed = entry["step_seconds"], entry["exposed_seconds"]
        lines.append(f"| {entry['network']} | {entry['num_rounds']} | {seconds['alone']:.3f} "
                     f"| {seconds['overlap']:.3f} | {seconds['no_overlap']:.3f} | {exposed['overlap']:.3f} "
                     f"| {exposed['no_overlap']:.3f} | {entry['ratio']:.2f} {verdict(entry['ratio'], OVERLAP_TARGET)} |")
    return lines


def all_reduce_section(entries):
    lines = ["", "## One large sum", "",
             "The communicator's all-reduce and plain `MPI_Allreduce` of the same float32 buffer in one process, in "
             "turns.", "", "| ranks | MiB | pairs | communicator ms | MPI_Allreduce ms | ratio (≤ 1.1) |",
             "|---|---|---|---|---|---|"]
    for entry in entries:
        lines.append(f"| {entry['num_ranks']} | {entry['num_bytes'] / 2**20:g} | {entry['num_pairs']} "
                     f"| {1e3 * entry['communicator_seconds']:.2f} | {1e3 * entry['mpi_seconds']:.2f} "
                     f"| {entry['ratio']:.3f} {verdict(entry['ratio'], ALL_REDUCE_TARGET)} |")
    return lines


def forecast_section(entries):
    lines = ["", "## Forecast against measurement", "",
             "Two ranks on two hosts, link shaped. Predicted by the model of docs/methods/scaling.md from the backward "
             "timeline of a rank without communication; latency measured with a sum of one number.", "",
             "| network | Gbit/s | latency µs | rounds | step alone s | predicted s | measured s | error |",
             "|---|---|---|---|---|---|---|---|"]
    for entry in entries:
        lines.append(f"| {entry['network']} | {entry['gbit_per_s']:g} | {1e6 * entry['latency_seconds']:.0f} "
                     f"| {entry['num_rounds']} | {entry['alone']:.3f} | {entry['predicted']:.3f} "
                     f"| {entry['measured']:.3f} | {100 * entry['relative_error']:+.0f} % |")
    return lines


def page_of(report):
    sections = {"ddp": ddp_section, "overlap": overlap_section, "all_reduce": all_reduce_section,
                "forecast": forecast_section}
    lines = head(report)
    for part, section in sections.items():
        if part in report:
            lines += section(report[part])
    return "\n".join(lines) + "\n"
