"""The result page of launch/benchmark checkpoint, from its JSON report. Targets that were missed are called so."""

SHARE_TARGET = 0.8   # of plain sequential writing and reading
PAUSE_TARGET = 0.01  # of run time, at the default cadence
DEFAULT_CADENCE = 1000


def at_least(value, target):
    return "met" if value >= target else "**missed**"


def head(report):
    machine = report["machine"]
    lines = ["# Checkpoints, measured", "",
             f"Made by `{report['command']}` at commit {report['commit']}, {report['date']}.", "",
             f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Linux "
             f"{machine['kernel']}; load average {report['load_at_start']:.1f} before, {report['load_at_end']:.1f} after "
             f"(the measured programs included). State: {report['num_bytes'] / 2**20:g} MiB in {report['num_tensors']} "
             "tensors, in host memory."]
    if report["load_at_start"] > machine["cores"] / 4:
        lines += ["", "**The machine was busy with other work before: times are disturbed, and the verdicts provisional.**"]
    return lines


def store_section(report):
    megabytes = report["num_bytes"] / 1e6
    lines = ["", "## Against plain files", "",
             "Plain: the same bytes in one file of the same folder, written by one thread and one fsync, read into one "
             "buffer. Save: from the call to the last fsync, the copy in memory included, reading back left out (its own "
             "column). Load: everything verified. Files are read after the system was asked to forget them. Medians; the "
             "share is that of plain speed, each repeat by itself, with its range.", "",
             "| store | repeats | plain write MB/s | save MB/s | share (≥ 0.8) | range | plain read MB/s | load MB/s "
             "| share (≥ 0.8) | range | read-back s | copy s |", "|" + "---|" * 12]
    for entry in report["store"]:
        seconds, share, spread = entry["seconds"], entry["share"], entry["share_range"]
        cells = [entry["name"], str(entry["num_repeats"])]
        for plain, ours in (("plain_write", "save"), ("plain_read", "load")):
            cells += [f"{megabytes / seconds[plain]:.0f}", f"{megabytes / seconds[ours]:.0f}",
                      f"{share[ours]:.2f} {at_least(share[ours], SHARE_TARGET)}",
                      f"{spread[ours][0]:.2f} to {spread[ours][1]:.2f}"]
        cells += [f"{seconds['verify']:.3f}", f"{seconds['snapshot']:.3f}"]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "With 2 ranks each reads and verifies the whole by itself, twice the bytes of the plain read on the same "
              "cores and memory."]
    return lines


def torch_section(report):
    megabytes = report["num_bytes"] / 1e6
    if not report["torch"]:
        return ["", "Not measured: PyTorch, because it is not installed (launch/setup --python-tools)."]
    ours = report["store"][0]["seconds"]
    lines = ["", "## Beside PyTorch", "",
             "The same state in one process; files fsynced, read from the disk. torch.save and torch.distributed.checkpoint "
             "verify nothing when they load.", "", "| | save MB/s | load MB/s |", "|---|---|---|",
             f"| this store | {megabytes / ours['save']:.0f} | {megabytes / ours['load']:.0f} |",
             f"| this store, read-back included | {megabytes / (ours['save'] + ours['verify']):.0f} | |"]
    for name, key in (("torch.save, torch.load", "torch"), ("torch.distributed.checkpoint", "distributed")):
        seconds = report["torch"]
        lines.append(f"| {name} | {megabytes / seconds[key + '_save']:.0f} | {megabytes / seconds[key + '_load']:.0f} |")
    return lines


def training_section(report):
    entry = report["training"]
    share = entry["share_at_default"]
    verdict = "met" if share <= PAUSE_TARGET else "**missed**"
    return ["", "## Pause in a training", "",
            f"The embedded job's denoiser on 2 ranks, a checkpoint of {entry['num_bytes'] / 1e6:.1f} MB every "
            f"{entry['cadence']} steps of {1e3 * entry['step_seconds']:.1f} ms; {entry['num_saves']} saves. Pause: the check "
            "that ranks agree, the copy, and what was waited for; the writer's time is spent beside the steps.", "",
            "| pause ms | writer ms | share of run time at this cadence | at the default cadence of "
            f"{DEFAULT_CADENCE} steps (≤ 0.01) |", "|---|---|---|---|",
            f"| {1e3 * entry['pause_seconds']:.2f} | {1e3 * entry['write_seconds']:.1f} | {entry['share']:.4f} "
            f"| {share:.5f} {verdict} |"]


def page_of(report):
    lines = head(report) + store_section(report) + torch_section(report) + training_section(report)
    return "\n".join(lines) + "\n"
