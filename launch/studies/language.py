"""launch/study language: trains and evaluates the conditions of configs/studies/language on both data sets.

One factor at a time around a base point, each with several seeds. Every run is one leda_dist_train; those that have
ended are kept, an interrupted one goes on. Collects the figures into JSON, and language_page makes the page.
"""

import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launch/, wherever this is started from

from studies import language_page  # noqa: E402
from studies.runs import DIED, carry_out, head_of_report, load_conditions, parse, parser_of, write_results  # noqa: E402
from support.revision import REPOSITORY  # noqa: E402

CONFIGS = REPOSITORY / "configs" / "studies" / "language"
DATA_SETS = ("phantoms", "head_ct")

# Seconds instead of an hour; figures without meaning.
TINY_OPTIONS = {
    "data.phantom_size": "64", "data.num_train_patients": "2", "data.num_validation_patients": "1",
    "data.num_test_patients": "1", "data.slices_per_patient": "2", "autoencoder.channels": "4",
    "autoencoder.num_steps": "4", "denoiser.channels": "4", "denoiser.num_steps": "4", "denoiser.crop": "32",
    "training.num_warm_up_steps": "1", "logging.every_num_steps": "2", "logging.tensorboard": "false",
    "evaluation.max_tuning_slices": "1",
}


def parse_arguments(arguments):
    parser = parser_of("language", "base", __doc__)
    parser.add_argument("--data", nargs="+", choices=DATA_SETS, default=list(DATA_SETS), help="(default: both)")
    parsed = parse(parser, arguments)
    if parsed.tiny:
        parsed.data = ["phantoms"]
    return parsed


def run_folder_of(study, data, condition, seed):
    return study.folder / data / f"seed_{seed}" / condition


def command_of(study, data, condition, seed):
    options = {"run.folder": run_folder_of(study, data, condition["name"], seed), "run.seed": seed,
               "run.stages": condition["stages"], **condition["options"]}
    if "autoencoder_of" in condition:
        trained = run_folder_of(study, data, condition["autoencoder_of"], seed)
        options["leda.autoencoder"] = trained / "pretrain" / "autoencoder.safetensors"
    if study.tiny:
        options = {**TINY_OPTIONS, "data.folder": study.folder / "data", **options}
        if options.get("autoencoder.strides") is None:
            options["autoencoder.strides"] = "4,2,1"  # three levels on a 4 x 4 map
    command = ["mpirun", "-np", str(study.ranks), "leda_dist_train", "--config",
               str((CONFIGS / f"{data}.cfg").relative_to(REPOSITORY))]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    return command


def log_lines(training_folder):
    try:
        text = (training_folder / "log.jsonl").read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def last_values(lines, is_wanted):
    """The newest value of every wanted key of a log."""
    values = {}
    for line in lines:
        values.update({key: value for key, value in line.items() if is_wanted(key)})
    return values


def stage_1_figures(folder):
    def is_wanted(key):
        return key.startswith(("validation_", "tokens_level_", "perplexity_level_")) or key == "semantic"
    return last_values(log_lines(folder / "pretrain"), is_wanted)


def gradient_figures(training_folder):
    """Medians over the logged steps, and the share of those in which the token term had no gradient at all."""
    figures = {}
    for term in ("leda_token", "leda_feature"):
        by_step = {line["step"]: line[f"{term}_gradient_ratio"] for line in log_lines(training_folder)
                   if f"{term}_gradient_ratio" in line}
        ratios = list(by_step.values())  # once per step, whether or not the run was interrupted
        if ratios:
            figures[f"{term}_gradient_ratio"] = statistics.median(ratios)
            figures[f"{term}_gradient_ratio_largest"] = max(ratios)
            figures[f"{term}_silent_share"] = sum(ratio == 0 for ratio in ratios) / len(ratios)
    return figures


def stage_2_figures(folder, code):
    """By row of the evaluation, then by reference. A network that died has no figures; after a few steps none has."""
    try:
        evaluation = json.loads((folder / "evaluation" / "evaluation.json").read_text())
    except FileNotFoundError:
        return {}
    rows = {}
    for row in evaluation["methods"]:
        if row["dead_seeds"] and code == DIED:
            continue
        rows[row["name"]] = {entry["reference"]: {"rmse_hu": entry["rmse_hu"]["mean"],
                                                  "gain_percent": entry["gain_percent"]["mean"],
                                                  "ssim": entry["ssim"]["mean"]} for entry in row["against"]}
    return rows


def figures_of(study, data, condition, seed):
    folder = run_folder_of(study, data, condition["name"], seed)
    record = json.loads((folder / "study.json").read_text())
    with_leda = sorted(folder.glob("with_leda*"))
    return {"seed": seed, "code": record["code"], "seconds": record["seconds"], "commit": record["commit"],
            "date": record["date"], "stage_1": stage_1_figures(folder), "stage_2": stage_2_figures(folder, record["code"]),
            "gradients": gradient_figures(with_leda[0]) if with_leda else {}}


def settings_of(data):
    lines = (CONFIGS / f"{data}.cfg").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def report_of(study, conditions, arguments):
    report = head_of_report(study, arguments)
    results = {data: {condition["name"]: [figures_of(study, data, condition, seed) for seed in report["seeds"]]
                      for condition in conditions} for data in study.data}
    return report | {"conditions": conditions, "settings": {data: settings_of(data) for data in study.data},
                     "results": results}


def main(arguments):
    study = parse_arguments(arguments)
    conditions = load_conditions(CONFIGS / "conditions.json", study.only, "base")
    # Seeds outermost: stopped early, the study has whole rounds.
    for seed in range(1, study.seeds + 1):
        for data in study.data:
            for condition in conditions:
                carry_out(run_folder_of(study, data, condition["name"], seed), command_of(study, data, condition, seed),
                          f"{data}, {condition['name']}, seed {seed}")
    report = report_of(study, conditions, arguments)
    write_results(study, report, language_page.page_of(report))


if __name__ == "__main__":
    main(sys.argv[1:])
