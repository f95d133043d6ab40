"""`python -m trainer export STUDY|RUN …`: results as files for other programs and for a paper. Imports no torch."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainer.cli.common import Parser, not_empty
from trainer.errors import ConfigError, RunError
from trainer.reports import figure_files, latex
from trainer.reports.tables import Exported, Table, epochs_table, exported, runs_table
from trainer.reports.verdict_file import verdict_json
from trainer.runtime.console import say, warn
from trainer.runtime.extras import require
from trainer.runtime.files import expanded, realpath, replacing
from trainer.runtime.text import counted, undecoded

FILES = ("csv", "parquet", "epochs", "json", "latex")  # options that name a file each
TEXT = ("csv", "epochs", "json", "latex")  # those that `-` prints
STDOUT = "-"

DESCRIPTION = """\
Write the results of a study or a run for other programs: tables of its runs and epochs, the verdict as JSON, the table
of arms for LaTeX, the figures for print. Several runs and studies become one comparison, as with `compare`.

A file that exists is replaced; `-` prints it instead. docs/export.md lists the columns and the keys."""

EPILOG = """\
examples:
  python -m trainer export outputs/sweeps/STUDY --csv runs.csv --epochs epochs.csv
  python -m trainer export outputs/sweeps/STUDY --json - | jq .winner
  python -m trainer export outputs/sweeps/STUDY --latex table.tex --figures figures --baseline none
  python -m trainer export outputs/RUN --epochs epochs.parquet

exit code 0: done. 1: runs of the study are missing, the study is damaged, or a file cannot be written. 2: the command
is wrong."""


def parser() -> Parser:
    """Return the parser of the command."""
    options = Parser("export", DESCRIPTION, EPILOG)
    options.add_argument("named", nargs="*", metavar="STUDY|RUN", help="folder of a study or a run, or several")
    helps = {
        "--csv": "a row a run, as CSV",
        "--parquet": "a row a run, as Parquet",
        "--epochs": "a row an epoch; ends in .csv or .parquet",
        "--json": "the verdict, its numbers and sentences",
        "--latex": "the table of arms, with booktabs",
    }
    for option, purpose in helps.items():
        options.add_argument(option, type=not_empty, metavar="FILE", help=purpose)
    options.add_argument(
        "--figures", type=not_empty, metavar="DIR", help="learning curves, arms, differences; SVG, PDF"
    )
    options.add_argument("--baseline", metavar="ARM", help="compare the others with this arm; default: the best one")
    options.add_argument("--other-images", action="store_true", help="also if they were validated on other images")
    return options


def main(arguments: Sequence[str]) -> int:
    """Write what is asked for. Return 0, or 1 if runs of the study are missing."""
    request = parser().read(arguments)
    if not request.named:
        parser().error("STUDY: is missing")
    paths = {option: getattr(request, option) for option in FILES if getattr(request, option)}
    if not paths and not request.figures:
        asked = ", ".join([*(f"--{option} FILE" for option in FILES), "--figures DIR"])
        parser().error(f"{request.named[0]}: say what to write: {asked}")
    _check(paths, request.figures)
    source = exported(request.named, request.baseline, request.other_images)
    # All is made before the first file is written, so that an error leaves none of them.
    made = list(_made(source, paths, request))
    for line in source.content.damage:
        warn(line)
    printed = [content for path, content, _ in made if str(path) == STDOUT]
    if request.figures:
        expanded(request.figures).mkdir(exist_ok=True)
    for path, content, what in made:
        if str(path) != STDOUT:
            with replacing(realpath(path)) as file:  # a link of the user stays
                file.write(content)
            if not printed:
                say(f"Written: {path} ({what})")
    for content in printed:
        sys.stdout.write(content.decode())
    if source.content.missing:
        folders = "their folders are gone" if source.content.missing > 1 else "its folder is gone"
        warn(f"{counted(source.content.missing, 'run is', 'runs are')} missing: {folders}")
        return 1
    return 0


def _check(paths: dict[str, str], figures: str | None) -> None:
    """Raise ConfigError for a file that cannot be written, before a study is read, or for a missing library."""
    printed = [f"--{option}" for option, text in paths.items() if text == STDOUT]
    if len(printed) > 1:
        raise ConfigError(f"{' and '.join(printed)}: only one of them can be printed")
    for option, text in paths.items():
        if text != STDOUT:
            _check_file(option, text)
        elif option not in TEXT:
            raise ConfigError(f"--{option} {text}: is no text to print; name a file")
    files = [expanded(text).absolute() for text in paths.values() if text != STDOUT]
    if twice := next((path for path in files if files.count(path) > 1), None):
        raise ConfigError(f"{twice}: is named for two of the files")
    if figures:
        folder = expanded(figures)
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"--figures {figures}: is a file; name a folder")
        if not folder.absolute().parent.is_dir():
            raise ConfigError(f"--figures {figures}: there is no folder {folder.parent}")
        require(f"--figures {figures}", "figures", "matplotlib")


def _check_file(option: str, text: str) -> None:
    path, typed = expanded(text), f"--{option} {text}"
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"{typed}: there is no folder {path.parent}")
    if path.is_dir():
        raise ConfigError(f"{typed}: is a folder; name a file")
    if path.exists() and not path.is_file():
        raise ConfigError(f"{typed}: is not a regular file; name one{', or - to print' if option in TEXT else ''}")
    if option == "epochs" and path.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"{typed}: must end in .csv or .parquet")
    if option == "parquet" or (option == "epochs" and path.suffix == ".parquet"):
        require(typed, "parquet", "pyarrow")


def _made(source: Exported, paths: dict[str, str], request: argparse.Namespace) -> Iterator[tuple[Path, bytes, str]]:
    """Yield (path, content, what it holds) of each file that is asked for."""
    for option, text in paths.items():
        path = expanded(text)
        if option in ("csv", "parquet", "epochs"):
            table: Table = (epochs_table if option == "epochs" else runs_table)(source)
            as_parquet = option == "parquet" or (option == "epochs" and path.suffix == ".parquet")
            content = table.parquet() if as_parquet else _encoded(path, table.csv())
            yield path, content, counted(len(table), "row")
        elif option == "json":
            yield path, _encoded(path, verdict_json(source)), "the verdict"
        else:
            yield path, _encoded(path, latex.table(source)), counted(len(source.content.arms), "arm")
    if request.figures:
        drawn = figure_files.drawn(source.content)
        if not drawn:
            raise RunError(f"--figures: {source.name} has no epoch yet, so there is nothing to draw")
        for name, content in drawn.items():
            yield expanded(request.figures) / name, content, "figure"


def _encoded(path: Path, text: str) -> bytes:
    """Return a text as a file holds it. Raises RunError if it quotes a name that the locale could not read."""
    if reason := undecoded(text):
        raise RunError(f"{path} could not be written: {reason}")
    return text.encode()
