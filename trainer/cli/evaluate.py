"""`python -m trainer evaluate RUN …`: score runs on the test set, and record the reading in the ledger."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.cli.common import Parser, device, not_empty
from trainer.errors import ConfigError
from trainer.records.layout import best_of
from trainer.runtime.console import new_table, show_table
from trainer.runtime.stdio import stdout_failure
from trainer.runtime.text import complain, counted

if TYPE_CHECKING:
    from rich.table import Table

    from trainer.evaluation.ledger import Network
    from trainer.evaluation.test_set import Result
    from trainer.stats.scores import Scores

MATRIX = 12  # classes whose confusion matrix fits 80 columns; with more, the most frequent confusions are listed

DESCRIPTION = """\
Score trained networks on the test set, which no training and no study ever reads.

The scores are the accuracy with its 95 % interval, the accuracy of each class, the confusion matrix and the calibration
error of the probabilities. The probabilities of several runs are averaged (an ensemble) and scored beside the members.
"""

EPILOG = """\
Every reading is a line in the ledger outputs/test_readings.jsonl; each line holds the hash of the one before it. From
the second reading of a run or its study on, a warning is printed: a configuration that was chosen by its test score has
a score that is too good.

examples:
  python -m trainer evaluate outputs/RUN --why "number for the report"
  python -m trainer evaluate outputs/RUN1 outputs/RUN2 outputs/RUN3
  python -m trainer evaluate --ledger

exit code 0: done. 1: a checkpoint, the data or the ledger is damaged, or cannot be written. 2: the command is wrong."""


def parser() -> Parser:
    """Return the parser of the command."""
    options = Parser("evaluate", DESCRIPTION, EPILOG)
    options.add_argument("runs", nargs="*", metavar="RUN", help="folder of a run, or a checkpoint file")
    options.add_argument("--why", metavar="TEXT", help="the purpose of the reading, for the ledger")
    options.add_argument(
        "--data-dir", type=not_empty, metavar="DIR", help="folder of the data; default: that of the run"
    )
    options.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda, cuda:N, mps; default: auto")
    options.add_argument("--ledger", action="store_true", help="list all readings, and check that no line was changed")
    return options


def main(arguments: Sequence[str]) -> int:
    """Score the runs, or list the ledger. Return 0."""
    request = parser().read(arguments)
    if request.ledger:
        if request.runs:
            raise ConfigError("--ledger lists the readings: leave the runs out")
        return show_ledger()
    if not request.runs:
        parser().error("RUN: is missing")
    paths = [best_of(run) for run in request.runs]
    if len({path.resolve() for path in paths}) < len(paths):
        raise ConfigError(f"{' '.join(request.runs)}: a run is named twice")
    return _evaluate(paths, request.device, request.data_dir, request.why)


def _evaluate(paths: Sequence[Path], where: str, data_dir: str | None, why: str | None) -> int:
    from trainer.runtime.console import waiting

    with waiting("Loading torch"):
        from trainer.evaluation.inference import load_network
        from trainer.evaluation.test_set import read_test_set
        from trainer.training.build import pick_device
    snapshots = [load_network(path) for path in paths]
    averaged = len(snapshots) if len(snapshots) > 1 else 0
    names, classes = [each.name for each in snapshots], snapshots[0].classes
    result = read_test_set(
        snapshots, pick_device(where), data_dir, why, averaged, lambda result: show(names, classes, result)
    )
    if stdout_failure():
        complain(f"the result is reading {result.reading.number} in {result.ledger}")
    return 0


def show(names: Sequence[str], classes: Sequence[str], result: "Result") -> None:
    """Print the scores: several networks side by side, then each class."""
    from trainer.records.metrics import in_words, shown_figure
    from trainer.runtime.console import closing_table, say

    scores = result.overall
    low, high = scores.interval
    if result.ensemble:
        show_table(_side_by_side(names, result))
        say("")
    closing_table(
        [
            ("Test accuracy", f"{scores.accuracy:.2%}  ({scores.correct} of {counted(scores.images, 'image')})"),
            ("95 % interval", f"{low:.2%} to {high:.2%} (Wilson)"),
            ("Calibration error", f"{scores.calibration_error:.2%} (expected, 15 bins)"),
            *((in_words(name), shown_figure(name, value)) for name, value in result.metrics.items()),
        ]
    )
    say("")
    for table in _by_class(classes, scores):
        show_table(table)
    reading = result.reading
    say(f"Reading {reading.number} in {result.ledger}: {reading.digest}")


def _side_by_side(names: Sequence[str], result: "Result") -> "Table":
    table = new_table(
        ("network", "left"), ("accuracy", "right"), ("95 % interval", "right"), ("calibration error", "right")
    )
    rows = [*zip(names, result.members, strict=True)]
    for name, scores in [*rows, ("ensemble", result.ensemble)] if result.ensemble else rows:
        low, high = scores.interval
        style = "bold" if scores is result.ensemble else ""
        interval = f"{low:.2%} – {high:.2%}"
        table.add_row(name, f"{scores.accuracy:.2%}", interval, f"{scores.calibration_error:.2%}", style=style)
    return table


def _by_class(classes: Sequence[str], scores: "Scores") -> list["Table"]:
    """Return the confusion matrix, or for many classes the accuracy of each and the most frequent confusions."""
    import numpy as np

    count = len(classes)
    if count <= MATRIX:
        plain = list(classes) == [str(label) for label in range(count)]
        headings = [str(label) for label in range(count)]
        table = new_table(
            ("true ↓ predicted →", "left"), *((each, "right") for each in headings), ("accuracy", "right"), pad=1
        )
        for label, row in enumerate(scores.confusion.tolist()):
            name = classes[label] if plain else f"{label} {_short(classes[label])}"
            table.add_row(name, *(str(each) if each else "·" for each in row), _percent(scores.of_class(label)))
        return [table]
    worst = new_table(("class", "left"), ("images", "right"), ("accuracy", "right"))
    for label in sorted(range(count), key=lambda label: (scores.of_class(label), label)):
        worst.add_row(
            _short(classes[label], 40), str(int(scores.confusion[label].sum())), _percent(scores.of_class(label))
        )
    wrong = scores.confusion.copy()  # without its diagonal, the correct ones
    np.fill_diagonal(wrong, 0)
    wrong = wrong.flatten()
    confused = new_table(("true", "left"), ("taken for", "left"), ("images", "right"))
    for place in (-wrong).argsort(kind="stable")[:10].tolist():
        if wrong[place]:
            true, taken = divmod(place, count)
            confused.add_row(_short(classes[true], 30), _short(classes[taken], 30), str(int(wrong[place])))
    return [worst, confused]


def _percent(share: float) -> str:
    return "—" if math.isnan(share) else f"{share:.2%}"  # a class without test images


def _short(name: str, width: int = 12) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}…"


def _whose(networks: "Sequence[Network]") -> str:
    """Return the name of the run, or the number of networks with their study or runs."""
    studies = {each.study for each in networks}
    if len(networks) == 1:
        return networks[0].run
    runs = ", ".join(each.run for each in networks[:3]) + (", …" if len(networks) > 3 else "")
    return f"{len(networks)} networks of {next(iter(studies)) if len(studies) == 1 and None not in studies else runs}"


def show_ledger() -> int:
    """Print every reading in the ledger. Return 0. Raises RunError naming a line that was changed."""
    from trainer.evaluation.ledger import own_ledger, read_ledger
    from trainer.runtime.console import say
    from trainer.runtime.text import counted

    readings = read_ledger(ledger := own_ledger())
    if not readings:
        say(f"The test set was never read: there is no {ledger}")
        return 0
    table = new_table(
        ("", "right"), ("when (UTC)", "left"), ("accuracy", "right"), ("networks", "left"), ("why", "left")
    )
    for reading in readings:
        what = _whose(reading.networks)
        when = reading.when[:16].replace("T", " ")
        table.add_row(str(reading.number), when, f"{reading.accuracy:.2%}", what, reading.why or "")
    show_table(table)
    studies = {each.study: 0 for reading in readings for each in reading.networks if each.study}
    for study in studies:
        count = sum(reading.concerns(study) for reading in readings)
        say(f"{study}: {counted(count, 'reading')} of the test set")
    say(f"{counted(len(readings), 'reading', 'readings')}, none was changed. Last hash: {readings[-1].digest}")
    return 0
