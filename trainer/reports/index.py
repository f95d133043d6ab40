"""One page that lists every study and run below a folder. Imports no torch."""

import functools
import os
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from trainer.errors import ConfigError, RunError, reason_of
from trainer.records.layout import MANIFEST, RESULT
from trainer.records.metrics import METRICS
from trainer.reports import markdown, page
from trainer.reports.content import Content, of_study
from trainer.reports.page import PAGE, asset, styles, template
from trainer.reports.run_content import of_run
from trainer.runtime.files import write_text

STUDIES = ("study", "started", "runs", "best arm", "value", "verdict")
RUNS = ("run", "state", "settings", "epochs", "best validation accuracy", "seconds")


def write(folder: Path, reports: bool = False) -> tuple[Path, int, int, list[str]]:
    """Write `index.html` into the folder; return its path, the numbers of studies and of runs, and what is damaged.

    `reports`: write the report of each that has none, or one that is older than its runs. Raises ConfigError if there
    is nothing to list.
    """
    studies, runs, unreadable = contents_below(folder)
    if reports:
        unreadable += [
            line for content in (*studies, *runs) if _is_outdated(content) for line in _write_report(content)
        ]
    text = template("index.html.jinja").render(
        folder=str(folder),
        tables=[
            ("Studies", STUDIES, [_study(content, folder) for content in studies]),
            ("Runs", RUNS, [_run(content, folder) for content in runs]),
        ],
        unreadable=unreadable,
        written=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        script=asset("table.js"),
        style=styles(),
    )
    write_text(folder / "index.html", text)
    return folder / "index.html", len(studies), len(runs), unreadable


def _is_outdated(content: Content) -> bool:
    """Return whether a study or a run that has ended has no report, or an older one than its files."""
    every = [run for arm in content.arms for run in arm.runs]
    if any(run.outcome.state == "running" for run in every):
        return False  # its report would be outdated at once; `--watch` writes it
    report = content.folder / PAGE
    files = [content.folder / MANIFEST, *(run.folder / name for run in every for name in (METRICS, RESULT))]
    times = [file.stat().st_mtime for file in files if file.is_file()]
    return not report.is_file() or report.stat().st_mtime < max(times, default=0.0)


def _write_report(content: Content) -> list[str]:
    """Write the report of a study or a run; return why it cannot be written, in a sentence."""
    try:
        whole = of_study(content.folder) if content.kind == "study" else of_run(content.folder, full=True)
        markdown.write(whole)
        page.write(whole)
    except Exception as error:  # the others are written nevertheless
        return [_fault(content.folder, error)]
    return []


def _fault(path: Path, error: Exception) -> str:
    """Return what is wrong with a folder in one line."""
    expected = isinstance(error, RunError | ConfigError | OSError)
    return reason_of(error if expected else RunError(f"{path}: {type(error).__name__}: {error}"))


def contents_below(folder: Path) -> tuple[list[Content], list[Content], list[str]]:
    """Return the studies and the runs of no study below a folder, each newest first, and what is damaged in words.

    Raises ConfigError if there are none.
    """
    found: dict[str, list[Content]] = {"study": [], "run": []}
    unreadable = list[str]()
    for path, read in _folders(folder, unreadable):
        try:
            content = read(path)
            found[content.kind].append(content)
            unreadable += content.damage
        except Exception as error:  # whatever is wrong with one of them, the others are listed
            unreadable.append(_fault(path, error))
    if not any(found.values()) and not unreadable:
        raise ConfigError(f"{folder}: holds neither a study nor a run")
    return newest_first(found["study"]), newest_first(found["run"]), unreadable


def _folders(folder: Path, unreadable: list[str]) -> Iterator[tuple[Path, Callable[[Path], Content]]]:
    """Yield the folders of studies, and of runs that belong to none, with the function that reads each.

    A sentence for each folder that cannot be listed is added to `unreadable`.
    """

    def note(error: OSError) -> None:
        unreadable.append(f"{error.filename} cannot be read: {error.strerror}")

    for parent, names, files in os.walk(folder, onerror=note):
        path = Path(parent)
        if MANIFEST in files:
            yield path, functools.partial(of_study, search=False)  # without fANOVA, which takes seconds
        elif "config.yaml" in files and "metrics.jsonl" in files:
            yield path, of_run
        else:
            names[:] = sorted(name for name in names if name != "wandb")  # os.walk descends into what is left here
            continue
        names[:] = []  # os.walk goes no deeper: the runs of a study are in its report


def newest_first(contents: list[Content]) -> list[Content]:
    """Return the contents, the last begun first; those whose record has no time come last, newest files first."""
    # Not by the folder's own time alone: a report that is written into an old folder changes it.
    return sorted(contents, key=lambda each: (each.started, each.folder.stat().st_mtime), reverse=True)


def _study(content: Content, folder: Path) -> list[dict[str, Any]]:
    facts = dict(content.facts)
    # There is no best arm over several data sets.
    best = content.arms[0] if content.arms and content.arms[0].values and not content.blocks else None
    return [
        _name(content, folder),
        _cell(facts["Started"]),
        _cell(facts["Runs"]),
        _cell(best.name if best else "—"),
        _cell(
            content.format_value(best.mean, best.deviation) if best else "—",
            best.mean if best else None,
        ),
        _cell(content.verdict[0] if content.verdict else "", wide=True),
    ]


def _run(content: Content, folder: Path) -> list[dict[str, Any]]:
    arm = content.arms[0]
    return [
        _name(content, folder),
        _cell(arm.runs[0].outcome.state),
        _cell(content.title, wide=True),
        _cell(dict(content.facts)["Epochs"], len(arm.runs[0].epochs)),
        _cell(content.format_value(arm.mean), arm.mean if arm.values else None),
        _cell(f"{arm.seconds or 0:.1f}", arm.seconds),
    ]


def _name(content: Content, folder: Path) -> dict[str, Any]:
    report = content.folder / PAGE  # a link only where the page has been written
    where = content.folder.relative_to(folder).as_posix()
    return _cell(content.folder.name, link=f"{where}/{PAGE}" if report.is_file() else "", wide=True)


def _cell(text: str, value: Any = None, link: str = "", wide: bool = False) -> dict[str, Any]:
    return {"text": text, "value": text if value is None else value, "link": link, "wide": wide}
