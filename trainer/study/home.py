"""Where a study lies: the folder of a new one, and those of earlier studies that a command may continue."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from trainer.config.own_record import COPIES, INDEX, changed
from trainer.errors import ConfigError
from trainer.records.layout import MANIFEST, SWEEPS
from trainer.runtime.files import WRITING, expanded, realpath
from trainer.runtime.lock import LOCK
from trainer.runtime.text import slug
from trainer.storage.places import RUN, STUDY, output_root
from trainer.storage.untrusted import read_json
from trainer.study.fingerprint import LIBRARIES
from trainer.study.plan import Plan


@dataclass(frozen=True)
class Earlier:
    """A study on disk, as far as it is read to find the one that a command continues."""

    folder: Path
    name: str
    command: list[str]
    plans: list[str]
    code: str
    data: dict[str, str]
    started: str

    def differs_in(self, code: str, data: dict[str, str]) -> str:
        """Return what the study of the same command was trained with that is not the same now."""
        if self.code != code:
            return f"code, or other versions of {', '.join(LIBRARIES)}"
        if self.data != data:
            return "data"
        own = changed(path.parent.parent for path in sorted(self.folder.glob(f"*/{COPIES}/{INDEX}")))
        return f"code of {', '.join(own)}" if own else "settings in the YAML files, or code of its techniques"


def sweeps_of(plan: Plan) -> Path:
    """Return the folder that holds all studies of the plan's `output_root`."""
    return output_root(plan.output_root) / SWEEPS


def name_of(plan: Plan) -> str:
    """Return `sweep.name`, else the name of the experiment, else the varied settings."""
    experiment = [text.partition("=")[2] for text in plan.arguments if text.startswith("experiment=")]
    varied = [axis.key.rpartition(".")[2] for axis in plan.sweep.axes]
    ablation = [f"ablate-{plan.sweep.ablation.kind}"] if plan.sweep.ablation else []
    return plan.settings.name or slug([*experiment, *ablation] or varied) or "study"


def new_folder(plan: Plan, name: str, study_id: str) -> Path:
    """Return the folder of a new study; one without a name of its own tells data set, what varies, date and id.

    Raises ConfigError if `output_dir` names a folder that holds something else.
    """
    if plan.output_dir:
        folder = expanded(plan.output_dir)
        # Torn files and the lock are left by a process that was killed before it wrote anything else.
        if folder.is_dir() and any(each.name != LOCK and each.suffix != f".{WRITING}" for each in folder.iterdir()):
            raise ConfigError(f"output_dir={plan.output_dir}: is not empty, and holds no study. Name another folder")
        # A study inside another one would be found by no command, and one around others hide them.
        inside = [above for above in realpath(folder).parents for file in (STUDY, RUN) if (above / file).is_file()]
        if inside or realpath(sweeps_of(plan)).is_relative_to(realpath(folder)):
            where = f"lies in {inside[0]}, a study or run" if inside else "is the folder of all studies, or above it"
            raise ConfigError(f"output_dir={plan.output_dir}: {where}. Name another folder")
        return folder
    words = [name]
    if not plan.settings.name:
        datasets = [] if any(axis.key == "dataset" for axis in plan.sweep.axes) else [plan.dataset]
        words = [*datasets, name, datetime.now().strftime("%Y-%m-%d")]
    return sweeps_of(plan) / f"{'_'.join(words)}-{study_id}"


def earlier_studies(plan: Plan, home: Path | None = None) -> Iterator[Earlier]:
    """Yield the studies that the command may continue, newest first: in `home`, `output_dir`, else below the root."""
    named = home or (expanded(plan.output_dir) if plan.output_dir else None)
    places = [named] if named else sorted(sweeps_of(plan).glob("*/"))
    found = []
    for folder in places:
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):  # a damaged one is no match
            found.append(_read(folder, read_json(folder / MANIFEST)))
    yield from sorted(found, key=lambda each: each.started, reverse=True)


def with_plan(studies: Sequence[Earlier], study_id: str) -> Earlier | None:
    """Return the study of which this is the id of a command; None without one. The present command goes first."""
    matches = [each for each in studies if study_id in each.plans]
    return min(matches, key=lambda each: each.plans[-1] != study_id, default=None)


def _read(folder: Path, tree: Any) -> Earlier:
    plans = list(map(str, tree.get("plans", [tree["id"]])))
    return Earlier(folder, tree["name"], tree["command"], plans, tree["code"], tree["data"], str(tree["started"]))
