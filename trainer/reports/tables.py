"""The runs of a study as tables for other programs, a row a run or a row an epoch: CSV, Parquet. Imports no torch."""

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.config.recorded import shown_value, typed_settings
from trainer.config.schema import GROUPS
from trainer.errors import ConfigError, RunError, printable
from trainer.records.layout import MANIFEST
from trainer.records.metrics import FIGURES, figure_of, further_of
from trainer.reports.comparison import compared
from trainer.reports.content import Content, of_study, read_arm
from trainer.reports.run_content import of_run
from trainer.reports.run_files import Run
from trainer.storage.places import named_place, named_run
from trainer.study.axes import ARM, REPLICATES
from trainer.study.manifest import Manifest
from trainer.study.results import arms_of

MEASURED = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
EPOCH = ("epoch", *FIGURES, "improved", "skipped_steps")
COUNTS = ("epochs", "parameters", "best_epoch", "training_images", "validation_images", "stage", "epoch")
TEXTS = ("study", "arm", "folder", "state", "reason")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet computes a text that begins so

Cell = str | int | float | bool | None


@dataclass(frozen=True)
class Member:
    """A run with its place in what is exported. `folder` is relative to that of the study, if there is one."""

    study: str
    arm: str
    folder: str
    run: Run
    point: Mapping[str, str] = field(default_factory=dict)
    stage: int = 1


@dataclass(frozen=True)
class Exported:
    """The material of an export: the content of a report, its runs, best arm first, and the settings that are varied.

    The content is of the last stage of a study, the runs are of all of them.
    """

    name: str
    content: Content
    members: Sequence[Member]
    settings: tuple[str, ...]
    replicates: tuple[str, ...]


def exported(words: Sequence[str], baseline: str | None = None, other_images: bool = False) -> Exported:
    """Read a study, a run, or several of them, which become one comparison.

    Raises ConfigError for what is none of them or cannot be compared, RunError if it is damaged.
    """
    if len(words) > 1:
        return _of_comparison(compared(words, baseline, None, other_images))
    folder = named_place(words[0])
    if (folder / MANIFEST).is_file():
        return _of_study(folder, baseline)
    if baseline:
        raise ConfigError(f"--baseline={baseline}: {folder} is no study, it has no arms")
    content = of_run(named_run(words[0]))
    (run,) = content.arms[0].runs
    return Exported(folder.name, content, [Member(_study_of(folder), "", str(folder), run)], (), ("seed",))


def _of_study(folder: Path, baseline: str | None) -> Exported:
    content, study = of_study(folder, baseline, search=False), Manifest.read(folder)
    last = max((entry.stage for entry in study.entries), default=1)
    read = {run.folder: run for arm in content.arms for run in arm.runs}
    order = {arm.name: place for place, arm in enumerate(content.arms)}
    members = dict[tuple[int, str], Member]()  # a point that a search tried twice is one run
    for arm in arms_of(study, study.entries):
        runs = {run.folder: run for run in read_arm(study, arm, read).runs}
        for entry in arm.entries:
            path = study.path(entry)
            place = os.path.relpath(path, folder)
            members[entry.stage, entry.folder] = Member(
                study.name, arm.name, place, runs[path], entry.point, entry.stage
            )
    varied = {text.partition("=")[0]: [text.partition("=")[0]] for text in study.axes}
    if ARM in varied:  # the settings that its arms name
        arms = {entry.point.get(ARM, "") for entry in study.entries}
        texts = [" ".join(study.arm_words.get(arm, [arm])) for arm in sorted(arms)]
        named = [re.findall(r"(?:^| )\+*([\w.]+)=", text) for text in texts]
        varied[ARM] = [key for keys in named for key in keys]
    settings = [key for keys in varied.values() for key in keys]
    replicates = dict.fromkeys(("seed", *study.replicate_keys))
    ranked = sorted(members.values(), key=lambda each: (-each.stage, order[each.arm] if each.stage == last else 0))
    return Exported(study.name, content, ranked, tuple(dict.fromkeys(settings)), tuple(replicates))


def _of_comparison(content: Content) -> Exported:
    members = [
        Member(_study_of(run.folder), arm.name, str(run.folder), run) for arm in content.arms for run in arm.runs
    ]
    typed = [typed_settings(each.run.config) for each in members]
    replicates = [key for key in REPLICATES if key == "seed" or len({str(each.get(key)) for each in typed}) > 1]
    return Exported(content.title, content, members, tuple(content.differences), tuple(replicates))


def _study_of(run: Path) -> str:
    """Return the name of the study that a run's folder lies in, "" if there is none."""
    try:
        return Manifest.read(run.resolve().parent).name
    except (ConfigError, RunError):
        return ""


@dataclass(frozen=True)
class Table:
    """Columns of equal length, each with one type of value beside None."""

    columns: Mapping[str, Sequence[Cell]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def csv(self) -> str:
        """Return the table as CSV, with every digit. A text that a spreadsheet would compute begins with a quote."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(map(_harmless, self.columns))
        writer.writerows(map(_harmless, row) for row in zip(*self.columns.values(), strict=True))
        return text.getvalue()

    def parquet(self) -> bytes:
        """Return the table as the content of a Parquet file."""
        import pyarrow
        import pyarrow.parquet

        types = {str: pyarrow.string(), bool: pyarrow.bool_(), int: pyarrow.int64(), float: pyarrow.float64()}
        arrays = {name: pyarrow.array(values, types[_type(name, values)]) for name, values in self.columns.items()}
        content = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table(arrays), content)
        return content.getvalue()


def runs_table(source: Exported) -> Table:
    """Return a row a run: its place, its settings that are varied, its length, its score, its last and best figures.

    `score`: the value by which it is compared, of a run alone that of its best epoch.
    """
    figures = [f"{which}_{name}" for which in ("best", "last") for name in (*MEASURED, *_further(source))]
    length = ("state", "seconds", "epochs", "parameters", "best_epoch", "training_images", "validation_images")
    metric, rule = source.content.metric, source.content.score or "best"
    return _table(
        source,
        (*length, "score", "train_eval_accuracy", "gap", *figures, "reason"),
        lambda run: [{**_figures(run, _further(source)), "score": run.outcome.value(metric, rule)}],
    )


def epochs_table(source: Exported) -> Table:
    """Return a row an epoch of each run, with all that its metrics hold."""
    further = _further(source)
    return _table(source, (*EPOCH, *further), lambda run: (_with(row, further) for row in run.epochs))


def _further(source: Exported) -> list[str]:
    """Return the names of what some of the runs have recorded beside the figures of every run."""
    rows = [row for member in source.members for row in (*member.run.epochs, member.run.outcome.further)]
    return sorted({name for row in rows for name in further_of(row)})


def _with(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return an epoch with these figures, None where it has not recorded one."""
    return {**row, **{name: figure_of(row, name) for name in names}}


def _table(source: Exported, names: Sequence[str], rows_of: Callable[[Run], Iterable[Mapping[str, Any]]]) -> Table:
    """Return the rows of each run, behind those columns that say which run it is."""
    stage = ("stage",) if any(member.stage > 1 for member in source.members) else ()
    settings = [key for key in source.settings if key not in source.replicates]
    fixed = {"study", "arm", *stage, *source.replicates, "folder", *names}
    titles = [f"setting.{key}" if key in fixed else key for key in settings]
    order = ("study", "arm", *stage, *titles, *source.replicates, "folder", *names)
    columns: dict[str, list[Cell]] = {name: [] for name in order}
    for member in source.members:
        typed = typed_settings(member.run.config)
        values = {key: _cell(key, typed.get(key, member.point.get(key))) for key in (*settings, *source.replicates)}
        place: dict[str, Cell] = {
            "study": member.study,
            "arm": member.arm,
            "stage": member.stage,
            "folder": member.folder,
        }
        place |= {title: values[key] for title, key in zip(titles, settings, strict=True)}
        place |= {key: values[key] for key in source.replicates}
        for row in rows_of(member.run):
            for name in order:
                columns[name].append(_plain(place[name] if name in place else row[name]))
    return Table({name: _of_one_type(name, values) for name, values in columns.items()})


def _figures(run: Run, further: Sequence[str]) -> dict[str, Cell]:
    """Return what a run came to. `best`: in the epoch with the lowest validation loss, `last`: in its last epoch."""
    outcome, rows = run.outcome, [_with(row, further) for row in run.epochs]
    measured = (*MEASURED, *further)
    validated = [row for row in rows if row["validation_loss"] is not None]
    lowest = min(validated, key=lambda row: row["validation_loss"], default={"epoch": 0})
    best_epoch = outcome.best_epoch or lowest["epoch"]  # the outcome of a run that is still training does not say it
    best: Mapping[str, Any] = next((row for row in rows if row["epoch"] == best_epoch), {})
    best = best or {name: outcome.figure(name) for name in measured if name.startswith("validation")}
    return {
        "state": outcome.state,
        "seconds": run.seconds if rows else None,
        "epochs": len(rows) or outcome.epochs,  # its folder may be gone, while the study keeps its result
        "parameters": run.best.parameters if run.best else None,
        "best_epoch": best_epoch or None,
        "training_images": outcome.training_images,
        "validation_images": outcome.validation_images,
        "train_eval_accuracy": outcome.train_eval_accuracy,
        "gap": outcome.gap,
        **{f"best_{name}": best.get(name) for name in measured},
        **{f"last_{name}": rows[-1][name] if rows else None for name in measured},
        "reason": outcome.reason,
    }


def _cell(key: str, value: Any) -> Cell:
    """Return a setting as a table holds it: a list as a text, one technique of several as its name."""
    if key in GROUPS and isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if value is None or isinstance(value, str | int | float) else shown_value(key, value)


def _plain(value: Cell) -> Cell:
    return printable(value) if isinstance(value, str) else value  # a reason may hold control characters


def _of_one_type(name: str, values: Sequence[Cell]) -> list[Cell]:
    """Return the values as they are, or as texts where they are of several types, which a column cannot hold."""
    if _type(name, values) is not str:
        return list(values)
    return [value if value is None or isinstance(value, str) else shown_value(name, value) for value in values]


def _type(name: str, values: Sequence[Cell]) -> type:
    """Return the type of a column; that of its name where it holds nothing."""
    types = {type(value) for value in values if value is not None}
    if not types:
        return str if name in TEXTS else int if name in COUNTS else float
    if len(types) > 1:
        return float if types == {int, float} else str
    # A whole number that 64 bits do not hold, as a seed may be one, is a text.
    return str if types == {int} and any(abs(int(value or 0)) >= 2**63 for value in values) else types.pop()


def _harmless(value: Cell) -> Cell:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
