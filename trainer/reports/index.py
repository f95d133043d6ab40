"""The page that lists every study and run below a folder. Imports no torch."""

import functools
import os
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from trainer.errors import ConfigError, RunError
from trainer.records.layout import MANIFEST
from trainer.reports.content import Content, of_run, of_study
from trainer.reports.page import own, template
from trainer.runtime.files import write_text

STUDIES = ("study", "started", "runs", "best arm", "value", "verdict")
RUNS = ("run", "state", "settings", "epochs", "best validation accuracy", "seconds")


def write(folder: Path) -> tuple[Path, int, int]:
    """Write `index.html` into the folder. Return its path and the numbers of studies and runs.

    Raises ConfigError if there are none, RunError if the file cannot be written.
    """
    studies, runs, unreadable = list[Content](), list[Content](), list[str]()
    for place, read in _found(folder):
        try:
            content = read(place)
            (studies if content.kind == "study" else runs).append(content)
        except Exception as error:  # the records may be untrusted: the others are listed whatever is wrong with one
            named = isinstance(error, RunError | ConfigError | OSError)  # the message names its file
            unreadable.append(str(error if named else RunError(f"{place}: {type(error).__name__}: {error}")))
    if not studies and not runs and not unreadable:
        raise ConfigError(f"{folder}: holds neither a study nor a run")
    page = template("index.html.jinja").render(
        folder=str(folder),
        tables=[
            ("Studies", STUDIES, [_study(content, folder) for content in _newest_first(studies)]),
            ("Runs", RUNS, [_run(content, folder) for content in _newest_first(runs)]),
        ],
        unreadable=unreadable,
        written=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        script=own("table.js"),
        style=own("page.css"),
    )
    write_text(folder / "index.html", page)
    return folder / "index.html", len(studies), len(runs)


def _found(folder: Path) -> Iterator[tuple[Path, Callable[[Path], Content]]]:
    """Yield the folder of every study, and of every run that belongs to none, each with its reader."""
    for parent, names, files in os.walk(folder):
        path = Path(parent)
        if MANIFEST in files:
            yield path, functools.partial(of_study, search=False)  # the importance of settings is not shown here
        elif "config.yaml" in files and "metrics.jsonl" in files:
            yield path, of_run
        else:
            # `os.walk` enters the folders that are left in `names`; the files of W&B hold no run of ours.
            names[:] = sorted(name for name in names if name != "wandb")
            continue
        names[:] = []  # the runs of a study are part of its row


def _newest_first(contents: list[Content]) -> list[Content]:
    """Return the contents by the last change of their folder."""
    return sorted(contents, key=lambda content: content.folder.stat().st_mtime, reverse=True)


def _study(content: Content, folder: Path) -> list[dict[str, Any]]:
    """Return the row of a study, a cell for each of STUDIES."""
    facts = dict(content.facts)
    best = content.arms[0] if content.arms else None
    return [
        _name(content, folder),
        _cell(facts["Started"]),
        _cell(facts["Runs"]),
        _cell(best.name if best else "—"),
        _cell(content.format_value(best.mean, best.deviation) if best else "—", best.mean if best else None),
        _cell(content.verdict[0] if content.verdict else "", wide=True),
    ]


def _run(content: Content, folder: Path) -> list[dict[str, Any]]:
    """Return the row of a run, a cell for each of RUNS."""
    arm = content.arms[0]
    return [
        _name(content, folder),
        _cell(arm.runs[0].outcome.state),
        _cell(content.title, wide=True),
        _cell(dict(content.facts)["Epochs"], len(arm.runs[0].epochs)),
        _cell(content.format_value(arm.mean), arm.mean),
        _cell(f"{arm.seconds or 0:.1f}", arm.seconds),
    ]


def _name(content: Content, folder: Path) -> dict[str, Any]:
    """Return the cell with the name, a link if the report has been written."""
    report = content.folder / "report.html"
    place = content.folder.relative_to(folder).as_posix()  # relative, so that the folder can be moved
    return _cell(content.folder.name, link=f"{place}/report.html" if report.is_file() else "", wide=True)


def _cell(text: str, value: Any = None, link: str = "", wide: bool = False) -> dict[str, Any]:
    """Return a cell for the template; `value` is what the column is sorted by, the text if None."""
    return {"text": text, "value": text if value is None else value, "link": link, "wide": wide}
