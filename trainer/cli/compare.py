"""`python -m trainer compare RUN RUN STUDY …`: any runs, arms and studies side by side. Imports no torch."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from trainer.cli.common import Parser, not_empty
from trainer.cli.report import open_page, show
from trainer.config.directions import USUAL
from trainer.config.schema import techniques
from trainer.config.settings import is_of_kind
from trainer.config.types import Figure, Score, describe
from trainer.reports.comparison import compared
from trainer.reports.page import render
from trainer.runtime.console import say, show_columns
from trainer.runtime.files import expanded, make_folder, write_text
from trainer.storage.places import output_root

DESCRIPTION = """\
Put runs, arms of studies and whole studies side by side, wherever they were trained: the settings that differ, one
table, the verdict where arms have repeats, and their learning curves together on one page.

Runs that differ in seed, split_seed or dataset.fold only are repeats of one arm; a verdict needs three of each. Of a
study with several stages the last one counts. Arms that were validated on other images are refused, as their values
would differ without any technique."""

EPILOG = """\
examples:
  python -m trainer compare outputs/RUN outputs/sweeps/STUDY
  python -m trainer compare outputs/sweeps/STUDY:adam outputs/sweeps/STUDY/RUN
  python -m trainer compare outputs/sweeps/STUDY outputs/RUN --baseline adam --output both.html --open

exit code 0: done. 1: a run is damaged or missing, or the page is not written. 2: the command is wrong, or what is named
cannot be compared."""


def figure(text: str) -> str:
    """Parse the name of a figure of the validation, for argparse."""
    name = f"validation_{text}" if text in techniques("metric") else text
    if not is_of_kind(Figure, name):
        raise argparse.ArgumentTypeError(f"{text}: must be one of {', '.join(USUAL)} or {describe(Figure)}")
    return name


def score(text: str) -> str:
    """Parse the rule of a score, for argparse."""
    if not is_of_kind(Score, text):
        raise argparse.ArgumentTypeError(f"{text}: must be {describe(Score)}")
    return text


def parser() -> Parser:
    """Return the parser of the command."""
    options = Parser("compare", DESCRIPTION, EPILOG)
    page = output_root() / "comparison.html"
    options.add_argument("named", nargs="*", metavar="RUN|STUDY|STUDY:ARM", help="folders of runs and of studies")
    options.add_argument("--baseline", metavar="ARM", help="compare the others with this arm; default: the best one")
    options.add_argument(
        "--metric",
        type=figure,
        help="what decides: validation_accuracy, validation_loss, validation_cross_entropy or validation_NAME of a"
        " metric; default: that of the studies, else validation_accuracy",
    )
    options.add_argument(
        "--score",
        type=score,
        help="the epochs that runs are scored at: cross, best, last or mean:K, as sweep.score; default: that of the"
        " studies, else cross",
    )
    options.add_argument("--other-images", action="store_true", help="also if they were validated on other images")
    options.add_argument(
        "--output", type=not_empty, default=str(page), metavar="FILE", help=f"the page to write; default: {page}"
    )
    options.add_argument("--open", action="store_true", help="open the page in the browser")
    return options


def main(arguments: Sequence[str]) -> int:
    """Print the comparison and write its page. Return 0, or 1 if a run is missing."""
    request = parser().read(arguments)
    if not request.named:
        parser().error("RUN: is missing")
    content = compared(request.named, request.baseline, request.metric, request.other_images, request.score)
    if content.differences:
        columns = zip(*content.differences.values(), strict=True)
        rows = [(arm.name, *values) for arm, values in zip(content.arms, columns, strict=True)]
        show_columns(("arm", *content.differences), rows, ())
        say("")
    show(content)
    path: Path = expanded(request.output)
    make_folder(path.parent)
    write_text(path, render(content))
    say(f"Comparison: {path}", "bold")
    if request.open:
        open_page(path)
    return 1 if content.missing else 0
