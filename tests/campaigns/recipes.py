"""The recipes of docs/developing.md as edits of a tree: a toy denoiser, a toy loss term, a toy figure. Each adds one file
pair with its test and one line (and that line's include) in the list it belongs to, and names itself in one place for
people: a configuration, or a row of a page."""

import dataclasses
from pathlib import Path

TEMPLATES = Path(__file__).resolve().parent / "recipes"


@dataclasses.dataclass(frozen=True)
class Line:
    """`text` goes on a line of its own behind the one line of `file` that begins with `behind`."""
    file: str
    behind: str
    text: str


@dataclasses.dataclass(frozen=True)
class Recipe:
    name: str
    new_files: dict  # path in the tree: template
    lines: tuple

    def apply(self, tree):
        """Throws ValueError where a line's place is not there, or not the only one."""
        for path, template in self.new_files.items():
            target = tree / path
            if target.exists():
                raise ValueError(f"{path} is there already")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text((TEMPLATES / template).read_text())
        for line in self.lines:
            file = tree / line.file
            before = file.read_text().split("\n")
            places = [number for number, text in enumerate(before) if text.startswith(line.behind)]
            if len(places) != 1:
                raise ValueError(f"{line.file}: {len(places)} lines begin with {line.behind!r}, the recipe needs one")
            before.insert(places[0] + 1, line.text)
            file.write_text("\n".join(before))


def file_pair_with_test(room, name, folder):
    return {f"src/{room}/{name}.hpp": f"{folder}/{name}.hpp.in", f"src/{room}/{name}.cpp": f"{folder}/{name}.cpp.in",
            f"tests/{room}/{name}_test.cpp": f"{folder}/{name}_test.cpp.in"}


RECIPES = (
    Recipe("denoiser",
           {**file_pair_with_test("models", "toy_residual", "denoiser"),
            "configs/denoisers/toy_residual.cfg": "denoiser/toy_residual.cfg.in"},
           (Line("src/models/denoiser.cpp", '#include "models/red_cnn.hpp"', '#include "models/toy_residual.hpp"'),
            Line("src/models/denoiser.cpp", '    DenoiserType{"red_cnn", make<RedCnn>},',
                 '    DenoiserType{"toy_residual", make<ToyResidual>},'))),
    Recipe("loss term",
           file_pair_with_test("losses", "toy_gradient_loss", "loss"),
           (Line("src/losses/pixel_loss.cpp", '#include "losses/reconstruction_loss.hpp"',
                 '#include "losses/toy_gradient_loss.hpp"'),
            Line("src/losses/pixel_loss.cpp", '    PixelLoss{"l1", absolute_error_per_image},',
                 '    PixelLoss{"toy_gradient", gradient_error_per_image},'),
            Line("docs/methods/denoiser_losses.md", "| `l1` |",
                 r"| `toy_gradient` | mean of \|∂(x − y)\| over rows and columns | a toy |"))),
    Recipe("figure",
           file_pair_with_test("evaluation", "toy_largest_error", "figure"),
           (Line("src/evaluation/image_figures.cpp", '#include "evaluation/image_metrics.hpp"',
                 '#include "evaluation/toy_largest_error.hpp"'),
            Line("src/evaluation/image_figures.cpp", '    ImageFigure{"ssim", "SSIM"',
                 '    ImageFigure{"largest_error_hu", "largest (HU)", 1, 16, false, largest_error_hu},'))),
)
