"""A study on disk: its manifest, frozen at the start, and a folder for each run."""

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
from trainer.study.axes import ARM
from trainer.study.fingerprint import digest, run_id, significant
from trainer.study.manifest import Entry, Manifest
from trainer.study.plan import Plan, PlannedRun, plain

SWEEPS = OUTPUTS / "sweeps"


class Study:
    """The study of a plan, while it runs; the same command, code and data lead to the same folder."""

    def __init__(self, plan: Plan, code: str, data: Mapping[str, str], identities: list[str]) -> None:
        self.plan, self.code = plan, code
        self.name = plan.settings.name or _name(plan)
        # More trials, or another treatment of failures, continue the same study: they are no part of its id.
        excluded = {*tagged(Tag.NO_EFFECT, model=SweepConfig)}
        if plan.settings.stages == 1:  # else the next stage's range follows from the number of trials
            excluded.add("trials")
        settings = plan.settings.model_dump(exclude=excluded)
        space = [axis.described() for axis in plan.sweep.axes]
        self.id = digest([settings, space, sorted(identities), self.code, dict(data)], 8)
        self.folder = SWEEPS / f"{self.name}-{self.id}"
        self.entries: list[Entry] = []
        self.stages: list[dict[str, Any]] = []
        self.data = dict(data)
        self.settings, self.replicate_keys = plan.settings, [axis.key for axis in plan.replicates]
        self.started = datetime.now(timezone.utc).isoformat(timespec="seconds")

    def open(self) -> bool:
        """Read the manifest if there is one already, and return whether there was."""
        if not (self.folder / MANIFEST).is_file():
            return False
        manifest = Manifest.read(self.folder)
        self.entries = [self._own_if_lost(entry) for entry in manifest.entries]
        self.stages, self.started = [dict(stage) for stage in manifest.stages], manifest.started
        return True

    def _own_if_lost(self, entry: Entry) -> Entry:
        """Return the entry, with a folder of this study if it led into another one and is not finished there now."""
        if not entry.folder.startswith("../") or _finished(self.path(entry)):
            return entry
        return replace(entry, folder=f"{entry.slug}-{entry.id}")

    def save(self) -> None:
        """Write the manifest."""
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
            "axes": [axis.described() for axis in self.plan.axes],
            "replicates": [axis.described() for axis in self.plan.replicates],
            "stages": self.stages,
            "runs": [asdict(entry) for entry in self.entries],
        }
        write_text(self.folder / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")

    def add(self, planned: PlannedRun, data: str, trial: int = 0, stage: int = 1) -> Entry:
        """Return the entry of a run, new or from before; a finished run of another study is linked, not trained."""
        # The trial and the stage are part of the key: a search may come to the same run twice.
        identity = run_id(planned.config, self.code, data)
        for entry in self.entries:
            if (entry.id, entry.trial, entry.stage) == (identity, trial, stage):
                return entry
        slug = _slug([text for key, value in plain(planned.point).items() for text in _slug_words(key, value)]) or "run"
        folder = f"{slug}-{identity}"
        elsewhere = None if self.plan.retrain else _finished_elsewhere(self.folder, identity)
        entry = Entry(
            identity,
            slug,
            elsewhere or folder,
            plain(planned.point),
            dict(planned.point),
            {**significant(planned.config.tree()), **self._local_settings(planned, folder)},
            trial,
            stage,
        )
        self.entries.append(entry)
        return entry

    def _local_settings(self, planned: PlannedRun, folder: str) -> dict[str, Any]:
        """Return the settings that save and show a run: in W&B the study is its group, its point is its name."""
        wandb = planned.config.wandb
        named = wandb.model_copy(update={"group": wandb.group or self.folder.name, "name": wandb.name or folder})
        data_dir = str(expanded(planned.config.data_dir).absolute())
        return {
            "checkpoint_minutes": planned.config.checkpoint_minutes,
            "data_dir": data_dir,
            "output_dir": None,
            "resume": None,
            "wandb": named.model_dump(mode="json"),
        }

    def path(self, entry: Entry) -> Path:
        """Return the folder of a run."""
        return self.folder / entry.folder

    def outcome(self, entry: Entry) -> Outcome:
        """Return the state and figures of a run. Raises RunError if its folder is damaged."""
        return read_outcome(self.path(entry))

    def prepare(self, entry: Entry, job: Mapping[str, Any]) -> Path:
        """Write the run's configuration and job into its folder; a run that has begun keeps those it began with."""
        folder = self.path(entry)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "config.yaml").is_file():
            write_text(folder / "config.yaml", yaml.safe_dump(entry.config, sort_keys=False, allow_unicode=True))
        # A run that has started keeps its job, so that it is pruned by the same curves as before a kill.
        if not (self.outcome(entry).starts and (folder / JOB).is_file()):
            write_text(folder / JOB, json.dumps(dict(job)) + "\n")
        return folder

    def set_aside(self) -> None:
        """Rename the folders of trained runs, under `retrain`; the runs of other studies stay where they are."""
        # Links into other studies are given up first: their runs are trained here.
        self.entries = [replace(entry, folder=f"{entry.slug}-{entry.id}") for entry in self.entries]
        for entry in self.entries:
            folder = self.path(entry)
            if (folder / RESULT).is_file():
                # The moment makes the name unique, as a study may be retrained many times.
                moment = datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
                folder.rename(folder.with_name(f"before_{moment}_{folder.name}"))


def _finished(folder: Path) -> bool:
    try:
        return read_outcome(folder).state == "finished"
    except RunError:  # it is damaged, which the study that it belongs to reports
        return False


def _finished_elsewhere(study: Path, identity: str) -> str | None:
    """Return the folder of this run in another study, relative to this one, if it is finished there."""
    # Sorted, so that the choice among several does not depend on the file system.
    for folder in sorted(SWEEPS.glob(f"*/*-{identity}")):
        if folder.parent != study and not folder.name.startswith("before_") and _finished(folder):
            return f"../{folder.parent.name}/{folder.name}"
    return None


def _name(plan: Plan) -> str:
    """Return the name of the experiment, or of the settings that are varied."""
    experiment = [text.partition("=")[2] for text in plan.arguments if text.startswith("experiment=")]
    return _slug(experiment or [axis.key.rpartition(".")[2] for axis in plan.sweep.axes]) or "study"


def _slug_words(key: str, value: str) -> list[str]:
    """Return the words of a folder's name: each setting without its group, and its value."""
    pairs = [(key, value)] if key != ARM else [tuple(word.split("=", 1)) for word in value.split(" ")]
    return [f"{name.rpartition('.')[2]}-{text}" for name, text in pairs]


def _slug(words: list[str]) -> str:
    """Return letters, digits, dot and dash, joined by underscores, at most 60 characters."""
    plain_words = [re.sub(r"[^A-Za-z0-9.+]+", "-", word).strip("-.") for word in words]
    # 60 characters and the id stay far below the 255 bytes that file systems accept.
    return "_".join(word for word in plain_words if word)[:60].strip("-_.")
