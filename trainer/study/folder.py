"""A study on disk: the manifest, frozen at the start, and a folder for each run, which holds its outcome."""

import contextlib
import glob
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from trainer.config.run_config import SweepConfig, Tag, tagged
from trainer.errors import RunError
from trainer.records.layout import JOB, MANIFEST, OUTPUTS, RESULT
from trainer.records.outcome import Outcome, read_outcome
from trainer.runtime.files import expanded, write_text
from trainer.storage.untrusted import read_json
from trainer.study.axes import ARM
from trainer.study.fingerprint import LIBRARIES, digest, run_id, significant
from trainer.study.manifest import Entry, Manifest
from trainer.study.plan import Plan, PlannedRun, plain
from trainer.study.wandb_names import in_wandb

SWEEPS = OUTPUTS / "sweeps"


class Study:
    """The study of a plan. The same command, code and data lead to the same folder."""

    def __init__(self, plan: Plan, code: str, data: Mapping[str, str], identities: list[str]) -> None:
        self.plan, self.code = plan, code
        self.name = plan.settings.name or _name(plan)
        # With more trials, or another treatment of failures, it is the same study and continues in its folder.
        free = {*tagged(Tag.NO_EFFECT, model=SweepConfig)}
        if plan.settings.stages == 1:  # with several, the ranges of a stage depend on all trials of the stage before
            free.add("trials")
        settings = plan.settings.model_dump(exclude=free)
        space = [axis.described() for axis in plan.sweep.axes]
        # Everything that decides the results of the study.
        self.id = digest([settings, space, sorted(identities), self.code, dict(data)], 8)
        self.folder = SWEEPS / f"{self.name}-{self.id}"
        self.entries: list[Entry] = []
        self.stages: list[dict[str, Any]] = []
        self.points = plan.stage(plan.settings.stages)[0]  # of a search, in its last stage
        self.data = dict(data)
        self.settings, self.replicate_keys = plan.settings, [axis.key for axis in plan.replicates]
        self.started = datetime.now(timezone.utc).isoformat(timespec="seconds")

    def open(self) -> bool:
        """Read the manifest of an earlier start. Return False if there is none."""
        if not (self.folder / MANIFEST).is_file():
            return False
        earlier = Manifest.read(self.folder)
        self.entries = [self._in_own_folder(entry) for entry in earlier.entries]
        self.stages, self.started = [dict(stage) for stage in earlier.stages], earlier.started
        return True

    def earlier(self) -> tuple[Path, str] | None:
        """Return the newest other folder of the same command and what it was trained with; None without one."""
        found: list[tuple[str, Path, str]] = []
        for path in SWEEPS.glob(f"{glob.escape(self.name)}-*/{MANIFEST}"):
            with contextlib.suppress(OSError, ValueError, LookupError, TypeError):  # a damaged one is no match
                tree = read_json(path)
                if path.parent != self.folder and tree["command"] == list(self.plan.arguments):
                    other = f"code, or other versions of {', '.join(LIBRARIES)}" if tree["code"] != self.code else ""
                    other = other or ("data" if tree["data"] != self.data else "settings in the YAML files")
                    found.append((str(tree["started"]), path.parent, other))
        return max(found)[1:] if found else None

    def _in_own_folder(self, entry: Entry) -> Entry:
        """Return the entry; one whose run lies in another study and is no longer finished there gets a folder here."""
        if not entry.folder.startswith("../") or _finished(self.path(entry)):
            return entry
        return replace(entry, folder=f"{entry.slug}-{entry.id}")

    def save(self) -> None:
        """Write the manifest. Raises RunError if that fails."""
        from trainer.records.environment import git_state

        manifest = {
            "format_version": 1,
            "name": self.name,
            "id": self.id,
            "command": list(self.plan.arguments),
            "started": self.started,
            "git": git_state(),
            "code": self.code,
            "data": self.data,
            "sweep": self.plan.settings.model_dump(),
            "points": self.points,
            "axes": [axis.described() for axis in self.plan.axes],
            "replicates": [axis.described() for axis in self.plan.replicates],
            "stages": self.stages,
            "runs": [asdict(entry) for entry in self.entries],
        }
        write_text(self.folder / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")

    def add(self, planned: PlannedRun, data: str, trial: int = 0, stage: int = 1) -> Entry:
        """Return the entry of a run, new or not. A run that another study has finished stays in its folder there."""
        identity = run_id(planned.config, self.code, data)
        present = next(
            (entry for entry in self.entries if (entry.id, entry.trial, entry.stage) == (identity, trial, stage)), None
        )
        if present:
            return present
        slug = _slug([text for key, value in plain(planned.point).items() for text in _words(key, value)]) or "run"
        folder = f"{slug}-{identity}"
        elsewhere = None if self.plan.retrain else _finished_elsewhere(self.folder, identity)
        entry = Entry(
            identity,
            slug,
            elsewhere or folder,
            plain(planned.point),
            dict(planned.point),
            {**significant(planned.config.tree()), **self._where(planned)},
            trial,
            stage,
        )
        self.entries.append(entry)
        return entry

    def _where(self, planned: PlannedRun) -> dict[str, Any]:
        """Return the settings that do not decide the result: where the run is saved, and how it is shown in W&B."""
        data_dir = str(expanded(planned.config.data_dir).absolute())  # a worker may have another working folder
        shown = in_wandb(self.plan, planned, self.folder.name).model_dump(mode="json")
        saves = {"checkpoint_minutes": planned.config.checkpoint_minutes}
        return {**saves, "data_dir": data_dir, "output_dir": None, "resume": None, "wandb": shown}

    def path(self, entry: Entry) -> Path:
        """Return the folder of the run; "../" leads to another study."""
        return self.folder / entry.folder

    def outcome(self, entry: Entry) -> Outcome:
        """Return what the run's folder says of its end. Raises RunError if the file is damaged."""
        return read_outcome(self.path(entry))

    def prepare(self, entry: Entry, job: Mapping[str, Any]) -> Path:
        """Write the configuration and the job of the run into its folder, and return it: all that a worker needs."""
        folder = self.path(entry)
        folder.mkdir(parents=True, exist_ok=True)
        # A run that has begun continues with what it began with: its files are not replaced.
        if not (folder / "config.yaml").is_file():
            write_text(folder / "config.yaml", yaml.safe_dump(entry.config, sort_keys=False, allow_unicode=True))
        if not (self.outcome(entry).starts and (folder / JOB).is_file()):
            write_text(folder / JOB, json.dumps(dict(job)) + "\n")
        return folder

    def set_aside(self) -> None:
        """Rename the folders of all runs trained here, so that `retrain` begins them anew."""
        # Runs of other studies are not touched: they get a folder here instead.
        self.entries = [replace(entry, folder=f"{entry.slug}-{entry.id}") for entry in self.entries]
        for entry in self.entries:
            folder = self.path(entry)
            if folder.is_dir() and (folder / RESULT).is_file():
                moment = datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
                # With microseconds: two renamings within a second must not meet.
                folder.rename(folder.with_name(f"before_{moment}_{folder.name}"))


def _finished(folder: Path) -> bool:
    """Return whether the folder holds a finished run."""
    try:
        return read_outcome(folder).state == "finished"
    except RunError:  # damaged, which the study it belongs to reports
        return False


def _finished_elsewhere(study: Path, identity: str) -> str | None:
    """Return the folder of a finished run of this identity in another study, relative to `study`; None without one."""
    # Sorted, so that every start finds the same one. "before_" marks the runs that `retrain` has set aside.
    for folder in sorted(SWEEPS.glob(f"*/*-{identity}")):
        if folder.parent != study and not folder.name.startswith("before_") and _finished(folder):
            return f"../{folder.parent.name}/{folder.name}"
    return None


def _name(plan: Plan) -> str:
    """Return the name of the experiment, else the varied settings."""
    experiment = [text.partition("=")[2] for text in plan.arguments if text.startswith("experiment=")]
    return _slug(experiment or [axis.key.rpartition(".")[2] for axis in plan.sweep.axes]) or "study"


def _words(key: str, value: str) -> list[str]:
    """Return the words of a folder's name, "setting-value", the setting without its group."""
    pairs = [(key, value)] if key != ARM else [tuple(word.split("=", 1)) for word in value.split(" ")]
    return [f"{name.rpartition('.')[2]}-{text}" for name, text in pairs]


def _slug(words: list[str]) -> str:
    """Return the words joined by underscores: letters, digits, dots, plus signs and dashes, at most 60 characters."""
    plain_words = [re.sub(r"[^A-Za-z0-9.+]+", "-", word).strip("-.") for word in words]
    # File systems allow 255 bytes in a name; the identity and a suffix follow.
    return "_".join(word for word in plain_words if word)[:60].strip("-_.")
