"""The recipes of docs/developing.md still fit the tree: the static half. `launch/campaign recipes` builds, trains and prints.

usage: python recipes_test.py
"""

import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "campaigns"))

from recipes import RECIPES  # noqa: E402


class Recipes(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="leda_recipes_")
        self.addCleanup(self.folder.cleanup)
        self.tree = Path(self.folder.name)
        shutil.copy(REPOSITORY / ".clang-format", self.tree)
        for line in (line for recipe in RECIPES for line in recipe.lines):
            (self.tree / line.file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / line.file, self.tree / line.file)

    def test_each_is_a_file_pair_one_line_and_a_test(self):
        for recipe in RECIPES:
            with self.subTest(recipe.name):
                recipe.apply(self.tree)
                suffixes = sorted(path.rsplit("/", 1)[1].split("_", 1)[1] for path in recipe.new_files if path.endswith("pp"))
                self.assertEqual(len(suffixes), 3, "header, source, test")
                code = [line for line in recipe.lines if not line.file.startswith("docs/")]
                self.assertEqual(len({line.file for line in code}), 1, "one list")
                self.assertEqual([line.text.startswith("#include") for line in code], [True, False])

    def test_together_they_leave_the_sources_formatted(self):
        for recipe in RECIPES:
            recipe.apply(self.tree)
        sources = [str(path) for path in self.tree.rglob("*.?pp")]
        checked = subprocess.run(["clang-format", "--dry-run", "--Werror", "--style=file", *sources], capture_output=True,
                                 text=True)
        self.assertEqual(checked.returncode, 0, checked.stderr)

    def test_a_place_that_is_not_there_is_named(self):
        recipe = RECIPES[0]
        table = self.tree / recipe.lines[1].file
        table.write_text(table.read_text().replace("RedCnn", "AnotherCnn"))
        with self.assertRaisesRegex(ValueError, r"denoiser\.cpp: 0 lines begin with"):
            recipe.apply(self.tree)

    def test_the_guide_names_every_list(self):
        guide = (REPOSITORY / "docs" / "developing.md").read_text()
        for recipe in RECIPES:
            self.assertIn(recipe.lines[0].file.removeprefix("src/"), guide, recipe.name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
