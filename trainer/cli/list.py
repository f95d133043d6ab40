"""`python -m trainer list [ROOT]`: the runs and studies under a folder. Imports no torch."""

import argparse
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.cli.common import Parser, count
from trainer.config.directions import direction_of
from trainer.config.schema import GROUPS, techniques
from trainer.config.settings import OF_STUDY, kinds_of, options_of, values_in
from trainer.config.suggestions import no_such_option, root_keys, unknown
from trainer.errors import ConfigError
from trainer.reports.content import Content
from trainer.reports.facts import moment
from trainer.reports.index import contents_below, newest_first
from trainer.reports.listing import METRICS, Row, rows_of, sorted_by_value
from trainer.runtime.console import duration, say, show_columns, warn
from trainer.runtime.text import counted
from trainer.storage.places import named_place, output_root

DAMAGES = 5  # what cannot be read, in sentences on the terminal, at most

DESCRIPTION = f"""\
List the runs and the studies under a folder, the last begun first.

SETTING=VALUE keeps the runs, and the studies with an arm, that have this setting: optimizer=adam, lr=0.1,0.01 (one of
the two), augmentation=flip (with others or alone). Of a study its best arm is shown.

The runs of a study are not listed; its report has them. {", ".join(METRICS[:4])} and
{", ".join(METRICS[4:7])} are those of the best epoch, which has the lowest validation loss."""

EPILOG = """\
examples:
  python -m trainer list
  python -m trainer list optimizer=adam dataset=digits
  python -m trainer list outputs/sweeps --sort validation_loss --limit 10
  python -m trainer list --sort seconds

exit code 0: done; of what cannot be read, a warning tells. 1: the folder cannot be read. 2: the command is wrong."""


def metric(text: str) -> str:
    """Parse the name of a metric, for argparse."""
    if text not in METRICS and direction_of(text) is None:
        named = [*METRICS, *(f"validation_{name}" for name in sorted(techniques("metric")))]
        near = difflib.get_close_matches(text, named, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise argparse.ArgumentTypeError(f"{text}: there is no such metric.{hint} Accepted: {', '.join(named)}")
    return text


def parser() -> Parser:
    """Return the parser of the command."""
    options = Parser("list", DESCRIPTION, EPILOG)
    help_ = f"folder to look under; default: {output_root()}. And settings to have"
    options.add_argument("words", nargs="*", metavar="ROOT|SETTING=VALUE", help=help_)
    options.add_argument("--sort", type=metric, metavar="METRIC", help="best first; default: the last begun first")
    options.add_argument("--limit", type=count, metavar="N", help="show the first N only")
    return options


def main(arguments: Sequence[str]) -> int:
    """Print the list. Return 0."""
    request = parser().read(arguments)
    filters = [word for word in request.words if "=" in word and not Path(word).exists()]
    roots = [word for word in request.words if word not in filters]
    if len(roots) > 1:
        parser().error(f"one ROOT is expected, {len(roots)} are named: {', '.join(roots)}")
    settings = dict(map(setting, filters))
    try:
        place = named_place(roots[0] if roots else str(output_root()))
    except ConfigError:
        _refuse_unknown(settings)
        raise
    studies, runs, unreadable = contents_below(place)
    shown = request.sort or "validation_accuracy"
    rows = rows_of(newest_first([*studies, *runs]), settings, shown)
    rows = sorted_by_value(rows, shown) if request.sort else rows
    if not rows:  # a name that is no technique of this program may be an own one of a recorded run
        _refuse_unknown(settings)
    if rows:
        _show(rows[: request.limit], shown)
    else:
        say(
            f"No run and no study under {roots[0] if roots else output_root()} has {' '.join(filters)}".removesuffix(
                " has "
            )
        )
    if request.limit and len(rows) > request.limit:
        say(f"{request.limit} of {len(rows)} are shown")
    for sentence in unreadable[:DAMAGES]:
        warn(sentence)
    if len(unreadable) > DAMAGES:
        warn(f"{counted(len(unreadable) - DAMAGES, 'more file')} cannot be read")
    return 0


def setting(word: str) -> tuple[str, list[Any]]:
    """Return a setting and its accepted values. Raises ConfigError for one that no run can have."""
    key, _, text = word.partition("=")
    root, _, option = key.partition(".")
    if key not in GROUPS and not kinds_of(key):
        names = (name for name in root_keys() if name not in ("experiment", *OF_STUDY, "hydra"))
        if root in GROUPS and option:
            raise ConfigError(f"{key} (command line): no {root} has such a setting. See --help {root}")
        raise ConfigError(unknown(key, key, names, "command line", "there is no such setting"))
    values = values_in(key, text)
    if values is None:
        raise ConfigError(f"{word} (command line): must be one value or several, as in lr=0.1,0.01")
    return key, values


def _refuse_unknown(settings: Mapping[str, Sequence[Any]]) -> None:
    """Raise ConfigError for a technique that there is not."""
    chosen = ((key, value) for key, values in settings.items() for value in values if key in GROUPS)
    for key, name in ((key, name) for key, value in chosen for name in (value if isinstance(value, list) else [value])):
        if name != "none" and name not in options_of(key):
            raise ConfigError(no_such_option(key, str(name), options_of(key), "command line"))
        if name != "none" and name not in techniques(key):  # as augmentation=lecture
            raise ConfigError(f"{key}={name} (command line): stands for several techniques. Name one of them")


def _show(rows: Sequence[Row], shown: str) -> None:
    headings = ("folder", shown.replace("_", " "), "state", "begun", "what")
    cells = [
        (
            str(row.content.folder),
            _value(row, shown),
            _state(row.content),
            moment(row.content.started),
            f"{row.content.kind}: {row.content.title}",
        )
        for row in rows
    ]
    show_columns(headings, cells, {1})


def _state(content: Content) -> str:
    facts = dict(content.facts)
    return facts["Runs"] if content.kind == "study" else f"{facts['State']}, {facts['Epochs']}"


def _value(row: Row, shown: str) -> str:
    if row.value is None:
        return "—"
    text = f"{row.value:.4g}"
    if shown.endswith("accuracy"):
        text = f"{100 * row.value:.2f} %"
    elif shown == "gap":
        text = f"{100 * row.value:+.2f} points"
    elif shown.endswith("seconds"):
        text = duration(row.value)
    elif shown in ("epochs", "best_epoch", "parameters"):
        text = f"{row.value:g}" if row.value < 1e6 else f"{row.value:,.0f}".replace(",", " ")
    return f"{row.arm}: {text}" if row.arm else text
