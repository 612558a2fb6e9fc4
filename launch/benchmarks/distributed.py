"""What launch/benchmark distributed measures: python distributed.py [OPTIONS], see launch/benchmark --help."""

import argparse
import datetime
import json
import os
import platform
import re
import resource
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launch/, wherever this is started from

from benchmarks import distributed_page, scaling_model as model  # noqa: E402
from benchmarks.distributed_page import PARTS  # noqa: E402
from benchmarks.network_shaping import ShapedLink  # noqa: E402
from benchmarks.step_runs import DDP_PYTHON, DdpSetting, Network, run_ddp, run_leda, run_program  # noqa: E402
from support.revision import REPOSITORY, commit  # noqa: E402

NETWORKS = (Network("RED-CNN 96, 128 x 128", 96, 128), Network("RED-CNN 256, 40 x 40", 256, 40))
TINY_NETWORKS = (Network("RED-CNN 4, 32 x 32", 4, 32),)
DDP_SETTINGS = (DdpSetting(), DdpSetting(gradient_as_bucket_view=True),
                DdpSetting(gradient_as_bucket_view=True, static_graph=True),
                DdpSetting(bucket_megabytes=1, gradient_as_bucket_view=True),
                DdpSetting(bucket_megabytes=1, gradient_as_bucket_view=True, static_graph=True))
LINK_GBIT = (0.1, 1.0, 10.0)


def say(text):
    print(f"{datetime.datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


def step_time(result):
    """Median over the steps after two of warm-up."""
    return model.median(result["step_seconds"][2:])


def processor_time(result):
    """The same of the time that rank 0 spent on processors, waiting that spins included."""
    return model.median(result["processor_seconds"][2:])


def summary(results):
    """Of the runs of one side: medians over runs; memory is that of the rank that needs most."""
    return {"step_seconds": model.median([step_time(result) for result in results]),
            "processor_seconds": model.median([processor_time(result) for result in results]),
            "peak_memory_bytes": model.median([max(result["peak_memory_bytes"]) for result in results]),
            "launch_seconds": model.median([result["launch_seconds"] for result in results])}


def best_ddp_setting(network, num_ranks, options):
    times = {setting: [] for setting in options.ddp_settings}
    for _ in range(options.setting_rounds):
        for setting in options.ddp_settings:
            times[setting].append(step_time(run_ddp(network, num_ranks, options.steps, setting)))
    medians = {setting: model.median(values) for setting, values in times.items()}
    return min(medians, key=medians.get), {setting.name: seconds for setting, seconds in medians.items()}


def compare_with_ddp(network, num_ranks, options):
    say(f"DDP: {network.name}, {num_ranks} ranks: best setting")
    setting, settings = best_ddp_setting(network, num_ranks, options)
    pairs = []
    for number in range(options.pairs):
        say(f"DDP: {network.name}, {num_ranks} ranks: pair {number + 1} of {options.pairs}")
        runs = {"leda": lambda: run_leda(network, num_ranks, options.steps),
                "ddp": lambda: run_ddp(network, num_ranks, options.steps, setting)}
        # Each goes first in every other pair.
        order = ("leda", "ddp") if number % 2 == 0 else ("ddp", "leda")
        pairs.append({side: runs[side]() for side in order})
    leda, ddp = summary([pair["leda"] for pair in pairs]), summary([pair["ddp"] for pair in pairs])
    ratios = {name: model.median([summary([pair["leda"]])[name] / summary([pair["ddp"]])[name] for pair in pairs])
              for name in leda}
    step_ratios = sorted(step_time(pair["leda"]) / step_time(pair["ddp"]) for pair in pairs)
    losses = [(pair["leda"]["losses"][-1], pair["ddp"]["losses"][-1]) for pair in pairs[:1]]
    return {"network": network.name, "num_ranks": num_ranks, "num_parameters": pairs[0]["ddp"]["num_parameters"],
            "ddp_setting": setting.name, "ddp_settings": settings, "num_pairs": len(pairs), "leda": leda, "ddp": ddp,
            "ratio": ratios, "step_ratio_range": [step_ratios[0], step_ratios[-1]], "last_losses": losses[0]}


def measure_ddp(options):
    return [compare_with_ddp(network, num_ranks, options)
            for network in options.networks for num_ranks in options.num_ranks]


def interleaved(runs, repeats, what):
    """{name: results} of `runs`, {name: function}, one after the other, `repeats` times."""
    results = {name: [] for name in runs}
    for number in range(repeats):
        say(f"{what}: round {number + 1} of {repeats}")
        for name, run in runs.items():
            results[name].append(run())
    return results


def measure_overlap(options):
    found = []
    for network in options.networks:
        with ShapedLink(2, options.overlap_gbit * 1e9) as link:
            def run(network=network, link=link, **settings):
                return run_leda(network, 2, options.steps, link.prefix, link.mpirun_options, **settings)
            runs = {"alone": lambda: run(**{"step.communication": "false"}), "overlap": run,
                    "no_overlap": lambda: run(**{"distributed.overlap": "false"})}
            results = interleaved(runs, options.repeats, f"overlap: {network.name}")
        seconds = {name: model.median([step_time(result) for result in values]) for name, values in results.items()}
        exposed = {name: model.median([step_time(result) - step_time(alone)
                                       for result, alone in zip(results[name], results["alone"])])
                   for name in ("overlap", "no_overlap")}
        found.append({"network": network.name, "gbit_per_s": options.overlap_gbit, "step_seconds": seconds,
                      "exposed_seconds": exposed, "ratio": exposed["overlap"] / exposed["no_overlap"],
                      "num_rounds": options.repeats})
    return found


def measure_all_reduce(options):
    found = []
    for num_ranks in options.num_ranks:
        say(f"all-reduce: {num_ranks} ranks")
        result = run_program(["all_reduce", f"--all_reduce.num_elements={options.all_reduce_elements}",
                              f"--all_reduce.num_repeats={options.pairs}"], num_ranks)
        ours, plain = result["communicator_seconds"], result["mpi_seconds"]
        found.append({"num_ranks": num_ranks, "num_bytes": 4 * options.all_reduce_elements, "num_pairs": len(ours),
                      "communicator_seconds": model.median(ours), "mpi_seconds": model.median(plain),
                      "ratio": model.median([mine / other for mine, other in zip(ours, plain)])})
    return found


def traced_timeline(network, prefix, mpirun_options, options):
    """Of a rank that trains alone beside another."""
    with tempfile.TemporaryDirectory() as folder:
        run_leda(network, 2, options.steps, prefix, mpirun_options,
                 **{"step.communication": "false", "step.trace_folder": folder})
        return model.timeline_of(json.loads((Path(folder) / "rank_0.json").read_text()))


def ping_seconds(link):
    """Half the median round trip of a small sum between two hosts."""
    result = run_program(["all_reduce", "--all_reduce.num_elements=1", "--all_reduce.num_repeats=50"], 2, link.prefix,
                         link.mpirun_options)
    return model.median(result["mpi_seconds"])


def check_forecast(options):
    found = []
    for network in options.networks:
        for gbit in options.link_gbit:
            with ShapedLink(2, gbit * 1e9) as link:
                latency = ping_seconds(link)
                rounds = []
                for number in range(options.repeats):
                    say(f"forecast: {network.name}, {gbit:g} Gbit/s: round {number + 1} of {options.repeats}")
                    timeline = traced_timeline(network, link.prefix, link.mpirun_options, options)
                    measured = step_time(run_leda(network, 2, options.steps, link.prefix, link.mpirun_options))
                    wire = model.Link(latency, gbit * 1e9 / 8)
                    predicted = model.forecast(timeline, model.Cluster(2, 1, wire, wire))
                    rounds.append({"alone": timeline.step_end, "predicted": predicted.step_seconds,
                                   "measured": measured})
            middle = {name: model.median([entry[name] for entry in rounds]) for name in rounds[0]}
            found.append({"network": network.name, "gbit_per_s": gbit, "latency_seconds": latency, **middle,
                          "relative_error": middle["predicted"] / middle["measured"] - 1, "num_rounds": len(rounds)})
    return found


def machine():
    processor = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                      if line.startswith("model name")), platform.processor())
    memory = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()
                  if line.startswith("MemTotal"))
    return {"processor": processor, "cores": len(os.sched_getaffinity(0)), "memory_gib": round(memory / 2**20, 1),
            "kernel": platform.release()}


def read_options():
    parser = argparse.ArgumentParser(usage="launch/benchmark distributed [OPTIONS], see launch/benchmark --help")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--ranks", default="2,4")
    parser.add_argument("--setting-rounds", type=int, default=3)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs" / "results")
    options = parser.parse_args()
    options.parts = options.parts.split(",")
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown parts {sorted(unknown)}; there are {', '.join(PARTS)}")
    if min(options.pairs, options.repeats, options.setting_rounds) < 1 or options.steps < 3:
        parser.error("at least one pair, one repeat and three steps")
    options.num_ranks = [int(number) for number in options.ranks.split(",")]
    options.networks = TINY_NETWORKS if options.tiny else NETWORKS
    options.ddp_settings = DDP_SETTINGS[1:2] if options.tiny else DDP_SETTINGS
    options.setting_rounds = 1 if options.tiny else options.setting_rounds
    options.all_reduce_elements = 1 << (12 if options.tiny else 24)
    options.link_gbit = (1.0,) if options.tiny else LINK_GBIT
    options.overlap_gbit = 1.0
    return options


def why_impossible(part):
    if part == "ddp" and not DDP_PYTHON.exists():
        return "PyTorch is not installed (launch/setup --python-tools)"
    if part in ("overlap", "forecast") and not ShapedLink.is_possible():
        return "links are shaped in network namespaces, for which root and iproute2 are needed, outside a chroot"
    return ""


def processor_seconds():
    """So far: of all cores together, busy in programs and the kernel on their behalf, and of that in what was measured."""
    user, nice, system, idle, waiting, *_ = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    tick = os.sysconf("SC_CLK_TCK")
    own = sum(getattr(resource.getrusage(who), time) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
              for time in ("ru_utime", "ru_stime"))
    return {"all": (user + nice + system + idle + waiting) / tick, "busy": (user + nice + system) / tick, "own": own}


def share_of_others(before, after):
    """Of the processors' time between the two: what ran besides the measured programs."""
    passed = {name: after[name] - before[name] for name in before}
    return max(0.0, passed["busy"] - passed["own"]) / passed["all"]


def record_of_start(options):
    """How a part's figures came to be."""
    # Where the report goes says nothing about that.
    arguments = re.sub(r"--output[ =]\S+ ?", "", " ".join(sys.argv[1:]))
    return {"command": f"launch/benchmark distributed {arguments}".strip(), "commit": commit(), "steps": options.steps,
            "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"}


def earlier_report(folder):
    """What the folder has of this machine's kind: parts that are not measured again stay."""
    try:
        report = json.loads((folder / "benchmark_distributed.json").read_text())
    except (OSError, ValueError):
        report = {}
    if report.get("machine") != machine() or "records" not in report:
        report = {"records": {}, "left_out": {}}
    return report


def write_report(report, folder):
    """The page, which is also written, as is the JSON report."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmark_distributed.json").write_text(json.dumps(report, indent=1) + "\n")
    page = distributed_page.page_of(report)
    (folder / "benchmark_distributed.md").write_text(page)
    return page


def main():
    options = read_options()
    report = earlier_report(options.output) | {"machine": machine()}
    measures = {"ddp": measure_ddp, "overlap": measure_overlap, "all_reduce": measure_all_reduce,
                "forecast": check_forecast}
    # Written after each part: an interrupted measurement keeps what it has.
    for part in options.parts:
        if reason := why_impossible(part):
            say(f"{part} is left out: {reason}")
            report["left_out"][part] = reason
        else:
            record, before = record_of_start(options), processor_seconds()
            report[part] = measures[part](options)
            report["left_out"].pop(part, None)
            report["records"][part] = record | {"share_of_others": share_of_others(before, processor_seconds())}
        page = write_report(report, options.output)
    print(page)


if __name__ == "__main__":
    main()
