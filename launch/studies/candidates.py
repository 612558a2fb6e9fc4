"""launch/study candidates: which candidate words make word maps that name the right tissue.

Stage 1 of configs/word_maps.cfg with each kind of candidates of docs/methods/candidate_words.md, on phantoms, with
several seeds; counted on test phantoms. The CLIP is a folder of one's own (--clip), or a small one that learns its
words from captioned training phantoms. Every run is one leda_dist_train; those that have ended are kept.
"""

import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launch/, wherever this is started from

from studies.runs import carry_out, head_of_report, load_conditions, parse, parser_of, say, write_results  # noqa: E402
from studies.seed_table import cell, table  # noqa: E402
from support.revision import REPOSITORY  # noqa: E402

CONFIG = "configs/word_maps.cfg"
CONDITIONS = REPOSITORY / "configs" / "studies" / "candidates" / "conditions.json"
MAKE_CLIP = REPOSITORY / "tests" / "support" / "phantom_clip.py"
SCORE_WORDS = REPOSITORY / "data_tools" / "score_words.py"
CLIP_STEPS = 600
WINDOW_HU = ("-1000", "1000")  # air, fat and bone apart from each other; the CLIP made here learns with it

# Seconds instead of half an hour; figures without meaning.
TINY_OPTIONS = {
    "autoencoder.num_steps": "2", "autoencoder.channels": "4", "autoencoder.norm_groups": "2",
    "data.phantom_size": "64", "data.num_train_patients": "1", "data.num_validation_patients": "1",
    "data.num_test_patients": "1", "data.slices_per_patient": "4", "training.num_warm_up_steps": "0",
    "logging.tensorboard": "false",
}
TINY_CLIP_STEPS = 2


def parse_arguments(arguments):
    parser = parser_of("candidates", "position", __doc__)
    parser.add_argument("--clip", type=Path, help="folder of a CLIP model (default: one that learns from phantoms)")
    parsed = parse(parser, arguments)
    if parsed.clip and not (parsed.clip / "config.json").is_file():
        parser.error(f"--clip {parsed.clip.resolve()} is no folder of a CLIP model: it has no config.json")
    return parsed


def run_tool(*command):
    if subprocess.run([sys.executable, *map(str, command)], cwd=REPOSITORY, check=False).returncode != 0:
        raise SystemExit("launch/study candidates: this failed, see above; call the study again to go on after it.\n  "
                         + " ".join(map(str, command)))


def clip_folder(study, kind):
    """The CLIP of this kind, "trained" or "random"; made if it is not there."""
    if study.clip and kind == "trained":
        return study.clip
    folder, steps = study.folder / f"clip_{kind}", 0 if kind == "random" else study.clip_steps
    if not (folder / "complete").exists():
        say(f"CLIP, {kind}")
        run_tool(MAKE_CLIP, folder, study.folder / "data" / "train", "--steps", steps)
        (folder / "complete").touch()
    return folder


def scores_of(study, kind):
    """The word score file of the training slices; asked for after a run has made the phantoms."""
    if kind not in study.scores:
        clip = clip_folder(study, kind)
        study.scores[kind] = study.folder / f"scores_{clip.name}.h5"
        run_tool(SCORE_WORDS, "--model", clip, "--vocabulary", "builtin", "--shards",
                 study.folder / "data" / "train", "--output", study.scores[kind], "--window", *WINDOW_HU)
    return study.scores[kind]


def run_folder_of(study, condition, seed):
    own_clip = study.clip is not None and condition.get("clip") == "trained"  # whose scores a resumed run would not notice
    return study.folder / f"seed_{seed}" / (f"{condition['name']}_{study.clip.name}" if own_clip else condition["name"])


def command_of(study, condition, seed):
    options = {"run.folder": run_folder_of(study, condition, seed), "run.seed": seed, "data.folder": study.folder / "data",
               "distributed.threads_per_rank": 1, **(TINY_OPTIONS if study.tiny else {}), **condition["options"]}
    if "clip" in condition:
        options["words.scores"] = scores_of(study, condition["clip"])
    command = ["mpirun", "-np", str(study.ranks), "leda_dist_train", "--config", CONFIG]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    return command


def figures_of(study, condition, seed):
    folder = run_folder_of(study, condition, seed)
    record = json.loads((folder / "study.json").read_text())
    word_maps = json.loads((folder / "pretrain" / "word_maps.json").read_text())
    return {"seed": seed, "seconds": record["seconds"], "commit": record["commit"], "date": record["date"],
            "trained": next(row["levels"][-1] for row in word_maps["rows"] if row["name"] == "trained")}


def tissue_shares(run):
    """Of each tissue that any cell of the test phantoms shows alone: the share of its cells with a word of it."""
    return {name: count["matches"] / count["cells"] for name, count in run["trained"]["tissues"].items() if count["cells"]}


def page_of(report):
    results = report["results"]
    tissues = list(tissue_shares(results["position"][0]))
    rows = []
    for condition in report["conditions"]:
        runs = results[condition["name"]]
        shares = [tissue_shares(run) for run in runs]
        rows.append([condition["title"], f"**{cell([run['trained']['balanced_match'] for run in runs], 3)}**",
                     *(cell([share.get(name) for share in shares], 2) for name in tissues)])
    runs = [run for of_condition in results.values() for run in of_condition]
    lines = [
        "# Candidate words compared by their word maps", "",
        f"Command: `{report['command']}`, page of {report['date']} at commit {report['commit']}; runs at commit "
        f"{', '.join(sorted({run['commit'] for run in runs}))}. {len(runs)} runs of {report['ranks']} ranks x 1 thread on "
        f"{report['cores']} cores, {sum(run['seconds'] for run in runs) / 60:.0f} minutes. "
        f"run.seed = {', '.join(map(str, report['seeds']))}.", "",
        f"Stage 1 of `{CONFIG}` on phantoms with each kind of [candidate words](../methods/candidate_words.md). Of the cells of "
        "the last level, on test phantoms, of which one tissue has at least 70 % of the pixels: the share whose token is a "
        "word of this tissue; balanced: the mean over tissues without air. Mean ± half width of the 95 % t interval over "
        "seeds.", "",
        *table(["candidates", "balanced", *tissues], rows), "",
        report["clip"] + " Its scores: window -1000 to 1000 HU, prompt \"A CT of {}\", thresholds as published "
        "(0.95, 0.90, 0.80).", "",
        "The right words are those of HU ranges, which the candidates by position name directly: the table says which "
        "candidates a word map can follow, not which model knows more about disease.", "",
        "Conditions (`configs/studies/candidates/conditions.json`), each in place of the options of "
        f"`{CONFIG}`:", ""]
    for condition in report["conditions"]:
        options = ", ".join(f"`{name} = {value}`" for name, value in condition["options"].items()) or "none"
        lines.append(f"- {condition['title']}: {options}")
    if report["is_tiny"]:
        lines += ["", "**Made with --tiny: a few steps of a tiny network. The figures mean nothing.**"]
    return "\n".join(lines) + "\n"


def clip_in_words(study):
    if study.clip:
        return f"The CLIP: {study.clip.name}, a folder given with --clip; the one of random weights is a small one."
    return ("The CLIP: two small towers that learnt contrastively from captions of the training phantoms, \"a ct of TERM\" "
            "with a term of a tissue that the slice shows much of; no published CLIP can be shipped. The one of random "
            "weights is of the same shape and has learnt nothing: what it reaches is due to the restriction alone. All seeds "
            "share one of each.")


def main(arguments):
    study = parse_arguments(arguments)
    study.clip = study.clip.resolve() if study.clip else None
    study.clip_steps, study.scores = TINY_CLIP_STEPS if study.tiny else CLIP_STEPS, {}
    conditions = load_conditions(CONDITIONS, study.only, "position")
    # Seeds outermost: stopped early, the study has whole rounds. The first run makes the phantoms that CLIPs learn from.
    for seed in range(1, study.seeds + 1):
        for condition in conditions:
            carry_out(run_folder_of(study, condition, seed), command_of(study, condition, seed),
                      f"{condition['name']}, seed {seed}", accepted=(0,))
    report = head_of_report(study, arguments)
    report |= {"clip": clip_in_words(study), "conditions": conditions,
               "results": {condition["name"]: [figures_of(study, condition, seed) for seed in report["seeds"]]
                           for condition in conditions}}
    write_results(study, report, page_of(report))


if __name__ == "__main__":
    main(sys.argv[1:])
