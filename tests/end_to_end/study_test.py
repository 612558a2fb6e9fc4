"""launch/study language: its page on made-up results, and the whole of it with a few steps on tiny phantoms.

usage: python study_test.py
"""

import copy
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from scipy import stats

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "tests" / "support"), str(REPOSITORY / "launch")]

from leda_job import PROGRAMS, TRAIN, environment  # noqa: E402
from studies import language, language_page as page, seed_table  # noqa: E402
from studies.runs import load_conditions  # noqa: E402

CONDITIONS = [
    {"name": "base", "title": "base", "stages": "pretrain,baseline,denoise,evaluate", "options": {}},
    {"name": "random", "title": "random codebook", "stages": "pretrain,denoise,evaluate",
     "options": {"vocabulary.control": "random"}},
    {"name": "soft", "title": "soft term", "stages": "denoise,evaluate", "autoencoder_of": "base",
     "options": {"leda.token_term": "soft"}},
]


def run_of(seed, l1, match, gain, without=None, code=0):
    row = {"normal dose": {"rmse_hu": 20.0, "gain_percent": gain, "ssim": 0.9}}
    rows = {"with LEDA": row}
    if without is not None:
        rows["without LEDA"] = {"normal dose": {"rmse_hu": 20.0, "gain_percent": without, "ssim": 0.9}}
    stage_1 = {} if l1 is None else {
        "validation_l1_hu": l1, "validation_psnr_db": 26.0, "validation_tissue_match_non_air": match,
        "tokens_level_1": 9.0, "tokens_level_3": 20.0 + seed, "perplexity_level_1": 3.0, "perplexity_level_3": 6.0}
    return {"seed": seed, "code": code, "seconds": 60.0, "commit": "abc", "date": "today", "stage_1": stage_1,
            "stage_2": rows if code == 0 else {},
            "gradients": {"leda_token_gradient_ratio": 0.25, "leda_token_silent_share": 0.5,
                          "leda_feature_gradient_ratio": 0.125, "leda_feature_gradient_ratio_largest": 2.0 * seed}}


def made_up_report():
    return {"command": "launch/study language", "commit": "abc", "date": "today", "ranks": 2, "cores": 2, "is_tiny": False,
            "seeds": [1, 2, 3], "conditions": CONDITIONS, "settings": {"phantoms": ["leda.weight = 0.05"]},
            "results": {"phantoms": {
                "base": [run_of(1, 60.0, 0.8, 30.0, 31.0), run_of(2, 61.0, 0.7, 29.0, 30.5), run_of(3, 62.0, 0.9, 31.0, 31.5)],
                "random": [run_of(1, 70.0, 0.7, 30.0), run_of(2, 71.5, 0.8, 29.5), run_of(3, 71.5, 0.8, 0, code=14)],
                "soft": [run_of(1, None, None, 30.5), run_of(2, None, None, 29.5), run_of(3, None, None, 31.5)]}}}


class Page(unittest.TestCase):
    maxDiff = None

    def test_quantiles_are_students(self):
        for degrees, quantile in enumerate(seed_table.T_95, start=1):
            self.assertAlmostEqual(quantile, stats.t.ppf(0.975, degrees), places=3)

    def test_interval_is_that_of_the_t_distribution(self):
        values = [1.0, 2.0, 4.0, 4.5]
        mean, half_width = seed_table.interval(values)
        low, high = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=stats.sem(values))
        self.assertAlmostEqual(mean, 2.875)
        self.assertAlmostEqual(mean - half_width, low, places=3)
        self.assertAlmostEqual(mean + half_width, high, places=3)
        self.assertEqual(seed_table.interval([3.0]), (3.0, None))

    def test_cells_say_what_is_missing(self):
        self.assertEqual(seed_table.cell([1.0, 3.0, 2.0], 2), "2.00 ± 2.48")
        self.assertEqual(seed_table.cell([1.0, None, 3.0], 1, signed=True), "+2.0 ± 12.7 (n = 2)")
        self.assertEqual(seed_table.cell([1.0, None], 1), "1.0 (1 seed)")
        self.assertEqual(seed_table.cell([None, "NaN", float("nan")], 1), "-")

    def test_tables_of_made_up_results(self):
        text = page.page_of(made_up_report())
        stage_1 = [line for line in text.splitlines() if line.startswith("| random codebook")]
        self.assertEqual(stage_1[0], "| random codebook | 71.0 ± 2.2 | 26.00 ± 0.00 | 0.767 ± 0.143 | 22.0 ± 2.5 | 6.0 ± 0.0 |")
        self.assertEqual(stage_1[1].split("|")[2].strip(), "+10.0 ± 1.2")  # 10, 10.5, 9.5
        soft = [line for line in text.splitlines() if line.startswith("| soft term")]
        # Gain, SSIM, and less that without LEDA: -0.5, -1, 0. No own stage 1, so not in its table.
        self.assertEqual(soft[0], "| soft term | 30.5 ± 2.5 | 0.9000 ± 0.0000 | -0.50 ± 1.24 | +0.0000 ± 0.0000 |")
        self.assertEqual(len(soft), 2)  # stage 2, gradients
        self.assertEqual(soft[1], "| soft term | 0.250 ± 0.000 | 0.50 ± 0.00 | 0.125 ± 0.000 | 6 |")

    def test_findings_are_the_intervals_without_0(self):
        text = page.page_of(made_up_report())
        self.assertIn("- random codebook: L1 (HU), less the base, +10.0 ± 1.2", text)
        self.assertNotIn("- random codebook: tissue match", text)  # -0.1, +0.1, -0.1
        self.assertNotIn("- soft term: RMSE gain (%) against normal dose, less that without LEDA", text)
        report = made_up_report()
        for run in report["results"]["phantoms"]["soft"]:
            run["stage_2"]["with LEDA"]["normal dose"]["gain_percent"] += 5
        text = page.page_of(report)
        self.assertIn("- soft term: RMSE gain (%) against normal dose, less that without LEDA, +4.50 ± 1.24", text)

    def test_a_condition_may_depart_from_another_than_the_base(self):
        report = made_up_report()
        report["conditions"] = [*CONDITIONS, {"name": "wide", "title": "wide", "against": "random",
                                              "stages": "pretrain,denoise,evaluate", "options": {}}]
        report["results"]["phantoms"]["wide"] = [run_of(seed, 80.0, 0.8, 20.0 + seed) for seed in (1, 2, 3)]
        text = page.page_of(report)
        self.assertIn("| wide | +9.0 ± 2.2 |", text)  # 80 less 70, 71.5, 71.5
        self.assertIn("- wide: L1 (HU), less random, +9.0 ± 2.2", text)
        self.assertIn("- wide (wide): none; departs from random", text)

    def test_dead_networks_are_named_and_left_out(self):
        text = page.page_of(made_up_report())
        self.assertIn("- random codebook, seed 3: its network died or diverged (exit code 14)", text)
        self.assertIn("| 29.8 ± 3.2 (n = 2) |", text)

    def test_one_seed_makes_no_finding(self):
        report = made_up_report()
        report["seeds"] = [1]
        report["results"]["phantoms"] = {name: runs[:1] for name, runs in report["results"]["phantoms"].items()}
        text = page.page_of(report)
        self.assertIn("None.", text)
        self.assertIn("(1 seed)", text)


def all_conditions():
    return load_conditions(language.CONFIGS / "conditions.json", None, "base")


class Study(unittest.TestCase):
    """The tiny study, once; then what calling it again does."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="leda_study_")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.output = cls.study()
        cls.report = json.loads((cls.folder / "results" / "language.json").read_text())
        cls.page = (cls.folder / "results" / "language.md").read_text()

    @classmethod
    def study(cls, *arguments):
        variables = environment(PATH=f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}")
        done = subprocess.run(
            [sys.executable, str(REPOSITORY / "launch" / "studies" / "language.py"), "--tiny", "--seeds", "2",
             "--ranks", "1", "--folder", str(cls.folder / "runs"), "--output", str(cls.folder / "results"), *arguments],
            env=variables, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)
        return done.stdout

    def run_folder(self, condition, seed=1):
        return self.folder / "runs" / "phantoms" / f"seed_{seed}" / condition

    def options(self, condition):
        lines = (self.run_folder(condition) / "options.cfg").read_text().splitlines()
        return dict(line.split(" = ", 1) for line in lines if " = " in line)

    def test_every_condition_has_both_seeds(self):
        self.assertNotIn("kept", self.output)
        results = self.report["results"]["phantoms"]
        self.assertEqual([one["name"] for one in all_conditions()], list(results))
        for name, runs in results.items():
            self.assertEqual([run["seed"] for run in runs], [1, 2])
            for run in runs:
                self.assertEqual(run["code"], 0, name)
                self.assertIn("with LEDA", run["stage_2"])
                self.assertIn("leda_token_gradient_ratio", run["gradients"])
                self.assertEqual("validation_psnr_db" in run["stage_1"], not name.endswith("soft"))
        self.assertIn("without LEDA", results["base"][0]["stage_2"])
        self.assertIn("The figures mean nothing", self.page)

    def test_conditions_differ_from_base_in_what_they_say(self):
        base = self.options("base")
        for condition in all_conditions():
            changed = {name for name, value in self.options(condition["name"]).items() if value != base[name]}
            expected = set(condition["options"])
            if condition["name"] != "base":
                expected.add("run.folder")
            if condition["stages"] != "pretrain,baseline,denoise,evaluate":
                expected.add("run.stages")
            if "autoencoder_of" in condition:
                expected.add("leda.autoencoder")
            self.assertEqual(changed, expected, condition["name"])

    def test_both_base_points_are_complete_jobs(self):
        for data in language.DATA_SETS:
            done = subprocess.run([TRAIN, "--config", str(language.CONFIGS / f"{data}.cfg"), "--dump-config"],
                                  env=environment(), capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            for line in language.settings_of(data):
                self.assertIn(line.split(" = ")[0], done.stdout)

    def test_codebooks_are_recorded_and_differ(self):
        def header(condition, seed=1):
            content = (self.run_folder(condition, seed) / "pretrain" / "autoencoder.safetensors").read_bytes()
            return json.loads(content[8:8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        self.assertEqual(header("base")["vocabulary_control"], "none")
        self.assertEqual(header("shuffled", 2)["vocabulary_control"], "shuffled, seed 2")
        self.assertEqual(header("random")["vocabulary_control"], "random, seed 1")

    def test_soft_term_acts_where_the_hard_one_may_be_silent(self):
        for run in self.report["results"]["phantoms"]["soft"]:
            self.assertGreater(run["gradients"]["leda_token_gradient_ratio"], 0)
            self.assertEqual(run["gradients"]["leda_token_silent_share"], 0)

    def test_called_again_it_keeps_what_has_ended(self):
        (self.run_folder("soft", 2) / "study.json").unlink()  # as if it had been interrupted after its training
        output = self.study()
        self.assertEqual(output.count("kept: "), 2 * len(self.report["conditions"]) - 1, output)
        again = json.loads((self.folder / "results" / "language.json").read_text())

        def figures(report):
            results = copy.deepcopy(report["results"])
            for run in (run for of_condition in results["phantoms"].values() for run in of_condition):
                del run["seconds"], run["date"]
            return results
        self.assertEqual(figures(again), figures(self.report))

    def test_named_conditions_bring_those_that_they_need(self):
        def names(*only):
            conditions = load_conditions(language.CONFIGS / "conditions.json", only, "base")
            return [condition["name"] for condition in conditions]
        self.assertEqual(names("random"), ["base", "random"])
        self.assertEqual(names("four_groups_soft"), ["base", "four_groups", "four_groups_soft"])

    def test_unknown_condition_is_named(self):
        with self.assertRaises(SystemExit) as refused:
            load_conditions(language.CONFIGS / "conditions.json", ["no_such"], "base")
        self.assertIn("no_such", str(refused.exception))
        self.assertIn("shuffled", str(refused.exception))


if __name__ == "__main__":
    unittest.main()
