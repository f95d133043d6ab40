"""A study on disk: the manifest, frozen at the start, and a folder for each run, which holds its outcome."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from trainer.config.check import check
from trainer.config.own import active
from trainer.config.own_record import keep
from trainer.records.layout import JOB, MANIFEST, RESULT
from trainer.records.outcome import DONE, Outcome, outcome_or_damage, read_outcome
from trainer.records.scoring import scored
from trainer.records.target import timed
from trainer.runtime.files import expanded
from trainer.runtime.text import slug
from trainer.storage.checksums import write_record
from trainer.study.adopt import adopt, finished_elsewhere, is_finished
from trainer.study.axes import ARM
from trainer.study.fingerprint import digest, free_settings, run_id, significant
from trainer.study.home import name_of, sweeps_of
from trainer.study.manifest import Change, Entry, Manifest
from trainer.study.plan import Plan, PlannedRun, plain
from trainer.study.taken_looks import TakenLook
from trainer.study.wandb_names import in_wandb


def study_id(plan: Plan, code: str, data: Mapping[str, str], identities: Sequence[str]) -> str:
    """Return the id of a plan: of everything that decides the results of its runs. The same command has the same id."""
    # With more trials, or another treatment of failures, it is the same study and continues in its folder.
    free = free_settings(plan.settings)
    if plan.settings.stages == 1:  # with several, the ranges of a stage depend on all trials of the stage before
        free.add("trials")
    settings = plan.settings.model_dump(exclude=free)
    axes = [axis for axis in plan.sweep.axes if not (plan.settings.until and axis.key == "seed")]
    space = [axis.described() for axis in (*axes, *plan.sweep.tuned)]
    return digest([settings, space, sorted(set(identities)), code, dict(data)], 8)


class Study:
    """The study of a plan in its folder. `plan_id`: that of its present command, which changes when the study grows."""

    def __init__(self, plan: Plan, folder: Path, code: str, data: Mapping[str, str], plan_id: str) -> None:
        self.plan, self.folder, self.code, self.data = plan, folder, code, dict(data)
        self.name, self.id, self.plans = name_of(plan), plan_id, [plan_id]
        self.entries: list[Entry] = []
        self.changes: list[Change] = []
        self.labels = dict(plan.sweep.labels)  # names of arms
        self.stages: list[dict[str, Any]] = []
        self.looks: list[TakenLook] = []
        self.fairness: Mapping[str, Sequence[str]] | None = None  # None: not examined at this start
        self.points = plan.stage(plan.settings.stages)[0]  # of a search, in its last stage
        self.settings, self.replicate_keys = plan.settings, [axis.key for axis in plan.replicates]
        self.tuned_keys = [axis.key for axis in plan.sweep.tuned]
        self.started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.group = folder.name  # of its runs in W&B
        self.ended: dict[str, Outcome] = {}  # by folder of the run; kept in the manifest as well

    def open(self) -> bool:
        """Read the manifest of an earlier start. Return False if there is none."""
        if not (self.folder / MANIFEST).is_file():
            return False
        earlier = Manifest.read(self.folder)
        self.name, self.id, self.started = earlier.name, earlier.id, earlier.started
        self.plans = list(dict.fromkeys([*(plan for plan in earlier.plans if plan != self.plans[0]), *self.plans]))
        self.stages, self.changes = [dict(stage) for stage in earlier.stages], list(earlier.changes)
        self.labels |= earlier.labels
        self.looks = list(earlier.looks)
        self.fairness = earlier.fairness if self.fairness is None else self.fairness
        self.entries = [self._in_own_folder(entry) for entry in earlier.entries]
        self.ended = {entry.folder: entry.result for entry in self.entries if entry.result}
        shown = [entry.config.get("wandb") for entry in earlier.entries]
        groups = [wandb.get("group") for wandb in shown if isinstance(wandb, dict)]
        self.group = next((group for group in groups if isinstance(group, str)), self.group)
        return True

    def _in_own_folder(self, entry: Entry) -> Entry:
        """Return the entry; one whose run lies in another study, as before 0.4.0, gets a folder here."""
        if not entry.folder.startswith("../"):
            return entry
        source, own = self.path(entry), replace(entry, folder=entry.own_folder)
        # There already if a start was killed before it wrote the manifest.
        if not self.path(own).exists() and is_finished(source):
            adopt(source, self.path(own), own.config)
        return replace(own, source=entry.folder.removeprefix("../")) if is_finished(self.path(own)) else own

    def save(self) -> None:
        """Write the manifest. Raises RunError if that fails."""
        from trainer.records.environment import git_state

        manifest = {
            "format_version": 1,
            "name": self.name,
            "id": self.id,
            "plans": self.plans,
            "command": list(self.plan.arguments),
            "started": self.started,
            "changes": list(map(asdict, self.changes)),
            "labels": self.labels,
            "ablation": asdict(self.plan.sweep.ablation) if self.plan.sweep.ablation else None,
            "git": git_state(),
            "code": self.code,
            "data": self.data,
            "sweep": self.plan.settings.model_dump(),
            "points": self.points,
            "axes": [axis.described() for axis in self.plan.axes],
            "tuned": [axis.described() for axis in self.plan.sweep.tuned],
            "replicates": [axis.described() for axis in self.plan.replicates],
            "stages": self.stages,
            "looks": list(map(asdict, self.looks)),
            "fairness": {kind: list(sentences) for kind, sentences in (self.fairness or {}).items()},
            "runs": [asdict(replace(entry, result=self.ended.get(entry.folder))) for entry in self.entries],
        }
        write_record(self.folder / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")

    def add(self, planned: PlannedRun, data: str, trial: int = 0, stage: int = 1) -> Entry:
        """Return the entry of a run, new or not. One that another study has finished is taken into this study's folder.

        Raises RunError if it cannot be written here.
        """
        identity = run_id(planned.config, data)
        place = plain(planned.point), dict(planned.point)
        for number, entry in enumerate(self.entries):
            if (entry.id, entry.trial, entry.stage) == (identity, trial, stage):
                # The study may have grown by an axis, such as seed, lie on another machine, or be changed by hand.
                same = replace(entry, point=place[0], texts=place[1], config=self._config(planned))
                self.entries[number] = entry if vars(same) == vars(entry) else same
                return self.entries[number]
        name = slug(text for key, value in place[0].items() for text in _words(key, value)) or "run"
        folder = f"{name}-{identity}"
        config, source = self._config(planned), None
        if not self.plan.retrain and not (self.folder / folder).exists():
            found = finished_elsewhere(sweeps_of(self.plan), self.folder, identity, config)
            if found and adopt(found, self.folder / folder, config):
                source = f"{found.parent.name}/{found.name}"
        entry = Entry(identity, name, folder, *place, config, trial, stage, source)
        self.entries.append(entry)
        return entry

    def _config(self, planned: PlannedRun) -> dict[str, Any]:
        """Return the configuration of a run with where it is saved and how it is shown in W&B."""
        data_dir = str(expanded(planned.config.data_dir).absolute())  # a worker may have another working folder
        shown = in_wandb(self.plan, planned, self.group).model_dump(mode="json")
        saves = {name: getattr(planned.config, name) for name in ("checkpoint_minutes", "tensorboard")}
        place = {"data_dir": data_dir, "output_root": None, "output_dir": None, "resume": None}
        return {**significant(planned.config.tree()), **saves, **place, "wandb": shown}

    def path(self, entry: Entry) -> Path:
        """Return the folder of the run."""
        return self.folder / entry.folder

    def outcome(self, entry: Entry, read: Callable[[Path], Outcome] = read_outcome) -> Outcome:
        """Return the outcome in the run's folder, as `read` reads it. Raises RunError if the file is damaged."""
        path, settings = self.path(entry), self.settings
        outcome = scored(read(path), path, [settings.score])
        outcome = timed(outcome, path, settings.metric, settings.target, settings.score, entry.config)
        if outcome.state in DONE:
            self.ended[entry.folder] = outcome
        return outcome

    def note_ended(self) -> None:
        """Keep how the runs have ended in the manifest, too: it says so even if their folders are removed."""
        for entry in self.entries:
            self.outcome(entry, outcome_or_damage)
        self.save()

    def prepare(self, entry: Entry, job: Mapping[str, Any]) -> Path:
        """Write the configuration and the job of the run into its folder, and return it: all that a worker needs."""
        folder = self.path(entry)
        folder.mkdir(parents=True, exist_ok=True)
        # A run that has begun continues with what it began with: its files are not replaced.
        if not (folder / "config.yaml").is_file():
            if active():
                keep(check(entry.config), folder)
            write_record(folder / "config.yaml", yaml.safe_dump(entry.config, sort_keys=False, allow_unicode=True))
        if not (self.outcome(entry).starts and (folder / JOB).is_file()):
            write_record(folder / JOB, json.dumps(dict(job)) + "\n")
        return folder

    def set_aside(self) -> None:
        """Rename the folders of the plan's runs, so that `retrain` begins them anew."""
        # Runs of other studies are not touched: the study has its own copies.
        for entry in self.entries:
            self.ended.pop(entry.folder, None)
            folder = self.path(entry)
            if folder.is_dir() and (folder / RESULT).is_file():
                rename_aside(folder, "before")
        if self.settings.until is not None:  # which arms get how many seeds is decided anew
            self.looks, self.entries = [], []


def rename_aside(folder: Path, why: str) -> Path:
    """Rename the folder of a run that is no part of its study any more; return its new path."""
    # With microseconds: two renamings within a second must not meet.
    moment = datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
    return folder.rename(folder.with_name(f"{why}_{moment}_{folder.name}"))


def _words(key: str, value: str) -> list[str]:
    """Return the words of a folder's name, "setting-value", the setting without its group."""
    if key == ARM and "=" not in value:  # the name of an arm
        return value.split(" ")
    pairs = [(key, value)] if key != ARM else [tuple(word.split("=", 1)) for word in value.split(" ")]
    return [f"{name.rpartition('.')[2]}-{text}" for name, text in pairs]
