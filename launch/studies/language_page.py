"""The result page of launch/study language, from its JSON report: means over seeds with 95 % t intervals, and paired
differences. It says what the intervals say and nothing more."""

from studies.seed_table import cell, differences, excludes_zero, is_number, table

TITLES = {"phantoms": "Phantoms", "head_ct": "Head CT (one patient)"}
MATCHES = ("tissue_match_balanced", "balanced_match", "tissue_match_non_air", "tissue_match")  # the first that a run has


def stage_1(runs, key):
    return [run["stage_1"].get(key) for run in runs]


def stage_2(runs, row, reference, key):
    return [run["stage_2"].get(row, {}).get(reference, {}).get(key) for run in runs]


def match_key(results):
    keys = {key for runs in results.values() for run in runs for key in run["stage_1"]}
    return next((key for key in MATCHES if f"validation_{key}" in keys), MATCHES[-1])


def finest_level(run):
    return max((int(key.rsplit("_", 1)[1]) for key in run["stage_1"] if key.startswith("tokens_level_")), default=None)


def at_finest(runs, name):
    return [run["stage_1"].get(f"{name}_level_{finest_level(run)}") for run in runs]


def reference_of(condition):
    """The condition that this one departs from in one option."""
    return condition.get("against", "base")


def named(condition):
    return "the base" if condition == "base" else condition


def stage_1_columns(results):
    """(header, digits, values of some runs)"""
    match = match_key(results)
    return [("L1 (HU)", 1, lambda runs: stage_1(runs, "validation_l1_hu")),
            ("PSNR (dB)", 2, lambda runs: stage_1(runs, "validation_psnr_db")),
            (match.replace("_", " "), 3, lambda runs: stage_1(runs, f"validation_{match}")),
            ("distinct tokens, finest level", 1, lambda runs: at_finest(runs, "tokens")),
            ("perplexity, finest level", 1, lambda runs: at_finest(runs, "perplexity"))]


def own_stage_1(conditions):
    return [condition for condition in conditions if "pretrain" in condition["stages"].split(",")]


def stage_1_section(results, conditions):
    columns = stage_1_columns(results)
    header = ["condition", *(name for name, _, _ in columns)]
    conditions = own_stage_1(conditions)
    rows = [[condition["title"], *(cell(values(results[condition["name"]]), digits) for _, digits, values in columns)]
            for condition in conditions]
    changes = []
    for condition in conditions[1:]:
        runs, others = results[condition["name"]], results[reference_of(condition)]
        changes.append([condition["title"], *(cell(differences(values(runs), values(others)), digits, True)
                                              for _, digits, values in columns)])
    lines = ["", "### Stage 1: reconstruction and words", "", *table(header, rows)]
    return lines + (["", "Less the condition that it departs from, seed by seed:", "", *table(header, changes)] if changes else [])


def references_of(results):
    names = []
    for runs in results.values():
        for run in runs:
            for row in run["stage_2"].values():
                names += [reference for reference in row if reference not in names]
    return names


def stage_2_section(results, conditions):
    lines = ["", "### Stage 2: denoising"]
    base = results["base"]
    for reference in references_of(results):
        header = ["condition", "RMSE gain (%)", "SSIM", "gain less that without LEDA", "SSIM less that without LEDA"]
        rows = [[name, cell(stage_2(base, name, reference, "gain_percent"), 1),
                 cell(stage_2(base, name, reference, "ssim"), 4), "", ""] for name in ("non-local means", "without LEDA")]
        for condition in conditions:
            runs = results[condition["name"]]
            row = [condition["title"]]
            changes = []
            for key, digits in (("gain_percent", 1), ("ssim", 4)):
                values = stage_2(runs, "with LEDA", reference, key)
                row.append(cell(values, digits))
                without = stage_2(base, "without LEDA", reference, key)
                changes.append(cell(differences(values, without), digits + (key == "gain_percent"), True))
            rows.append(row + changes)
        lines += ["", f"Against {reference}:", "", *table(header, rows)]
    return lines


def largest(values):
    present = [value for value in values if is_number(value)]
    return f"{max(present):.3g}" if present else "-"


def gradient_section(results, conditions):
    header = ["condition", "token term's gradient", "logged steps without any", "feature term's gradient",
              "its largest, of all seeds"]
    rows = []
    for condition in conditions:
        gradients = [run["gradients"] for run in results[condition["name"]]]
        rows.append([condition["title"], cell([one.get("leda_token_gradient_ratio") for one in gradients], 3),
                     cell([one.get("leda_token_silent_share") for one in gradients], 2),
                     cell([one.get("leda_feature_gradient_ratio") for one in gradients], 3),
                     largest([one.get("leda_feature_gradient_ratio_largest") for one in gradients])])
    return ["", "### How strongly the LEDA terms act", "",
            "Norm of the weighted term's gradient at the denoised image, relative to that of the pixel loss; medians over "
            "the logged steps, and the largest of them.", "", *table(header, rows)]


def findings(results, conditions):
    """One line for each difference whose interval leaves 0 out, and the number of all that were looked at."""
    found, num_looked_at = [], 0

    def look(title, name, digits, values):
        nonlocal num_looked_at
        num_looked_at += 1
        if excludes_zero(values):
            found.append(f"- {title}: {name} {cell(values, digits, True)}")

    for condition in own_stage_1(conditions)[1:]:
        for name, digits, values in stage_1_columns(results):
            look(condition["title"], f"{name}, less {named(reference_of(condition))},", digits,
                 differences(values(results[condition["name"]]), values(results[reference_of(condition)])))
    for condition in conditions:
        for reference in references_of(results):
            for key, name, digits in (("gain_percent", "RMSE gain (%)", 2), ("ssim", "SSIM", 4)):
                with_leda = stage_2(results[condition["name"]], "with LEDA", reference, key)
                without = stage_2(results["base"], "without LEDA", reference, key)
                look(condition["title"], f"{name} against {reference}, less that without LEDA,", digits,
                     differences(with_leda, without))
                if condition["name"] != "base":
                    other = reference_of(condition)
                    look(condition["title"], f"{name} against {reference}, less {named(other)},", digits,
                         differences(with_leda, stage_2(results[other], "with LEDA", reference, key)))
    return found, num_looked_at


def findings_section(results, conditions):
    found, num_looked_at = findings(results, conditions)
    lines = ["", "### Differences whose interval leaves 0 out", "",
             f"{len(found)} of {num_looked_at}; of as many differences that were all 0, about "
             f"{0.05 * num_looked_at:.0f} would be found by chance.", ""]
    return lines + (found or ["None."])


def failures_section(results, conditions):
    lines = [f"- {condition['title']}, seed {run['seed']}: its network died or diverged (exit code {run['code']})"
             for condition in conditions for run in results[condition["name"]] if run["code"] != 0]
    return ["", "### Runs that failed", "", *lines] if lines else []


def head(report):
    runs = [run for results in report["results"].values() for of_condition in results.values() for run in of_condition]
    minutes = sum(run["seconds"] for run in runs) / 60
    commits = sorted({run["commit"] for run in runs})
    lines = ["# Does language help?", "",
             "One factor at a time is changed around a base point, on a laptop's scale: small networks, about a minute of "
             "stage 1 and half a minute of stage 2. What it shows holds there; it is no statement about networks of the "
             "published size.", "",
             *(line for condition in report["conditions"] if "remark" in condition for line in (condition["remark"], "")),
             f"Command: `{report['command']}`, page of {report['date']} at commit {report['commit']}; runs at commit "
             f"{', '.join(commits)}. {len(runs)} runs of {report['ranks']} ranks x 1 thread on {report['cores']} cores, "
             f"{minutes:.0f} minutes. run.seed = {', '.join(map(str, report['seeds']))}: first weights, data order, "
             "augmentation, and the shuffled or random codebook; the data are the same for all.", "",
             f"Figures: mean ± half width of the 95 % t interval over n = {len(report['seeds'])} seeds. Differences are "
             "taken seed by seed. Not corrected for the number of comparisons. Stage 1: validation slices, on which the study "
             "chooses nothing; token counts of the last logging interval. Stage 2: test slices, inside the body."]
    if report["is_tiny"]:
        lines += ["", "**Made with --tiny: a few steps of tiny networks. The figures mean nothing.**"]
    return lines


def settings_section(report):
    lines = ["", "## Settings"]
    for data, settings in report["settings"].items():
        lines += ["", f"{TITLES[data]} (`configs/studies/language/{data}.cfg`):", "", "```", *settings, "```"]
    lines += ["", "Conditions (`configs/studies/language/conditions.json`), each in place of the base's options:", ""]
    for condition in report["conditions"]:
        options = ", ".join(f"`{name} = {value}`" for name, value in condition["options"].items()) or "none"
        departs = f"; departs from {condition['against']}" if "against" in condition else ""
        lines.append(f"- {condition['name']} ({condition['title']}): {options}{departs}")
    return lines


def page_of(report):
    lines = head(report)
    for data, results in report["results"].items():
        conditions = report["conditions"]
        lines += ["", f"## {TITLES[data]}"]
        lines += stage_1_section(results, conditions) + stage_2_section(results, conditions)
        lines += gradient_section(results, conditions) + findings_section(results, conditions)
        lines += failures_section(results, conditions)
    lines += settings_section(report)
    return "\n".join(lines) + "\n"
