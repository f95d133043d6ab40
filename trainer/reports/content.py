"""What a report tells, read from the folder of a study or of one run: plain values, whatever shows them. No torch."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.config.run_config import Tag, tagged
from trainer.config.shell import command
from trainer.errors import ConfigError, RunError, printable
from trainer.records.metrics import METRICS
from trainer.records.outcome import DONE
from trainer.reports.run_files import Run, RunLimits, run_of
from trainer.runtime.console import duration
from trainer.storage.untrusted import parse_json_as, read_config
from trainer.study.axes import REPLICATES
from trainer.study.manifest import Entry, Manifest
from trainer.study.rerun import continue_hint
from trainer.study.results import arm_names, last_stage, lines, reading_of, verdict


@dataclass(frozen=True)
class Arm:
    """`values`: the metric of each finished run by its replicate."""

    name: str
    runs: tuple[Run, ...]
    values: Mapping[str, float]

    @property
    def mean(self) -> float | None:
        return statistics.mean(self.values.values()) if self.values else None

    @property
    def deviation(self) -> float | None:
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    @property
    def best_epoch(self) -> float | None:
        return _median(run.outcome.best_epoch for run in self.runs if run.outcome.state in DONE)

    @property
    def epochs_to_near_best(self) -> float | None:
        return _median(run.epochs_to_near_best for run in self.runs if run.outcome.state in DONE)

    @property
    def seconds(self) -> float | None:
        return _median(run.seconds for run in self.runs if run.epochs)

    @property
    def parameters(self) -> int | None:
        return next((run.best.parameters for run in self.runs if run.best), None)

    def left_out(self) -> str:
        """ "2 failed, 1 queued": runs without a value."""
        states = [run.outcome.state for run in self.runs if run.outcome.state != "finished"]
        return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


@dataclass(frozen=True)
class Content:
    """What a report says. Arms are ordered best first; `verdict` are sentences, the first ones about arms."""

    kind: str  # study or run
    title: str
    folder: Path
    facts: list[tuple[str, str]]
    verdict: list[str]
    footnotes: list[str]
    metric: str
    sign: int
    unit: str
    arms: list[Arm]
    differences: dict[str, list[str]]  # setting → value in each arm
    search: dict[str, Any] | None = None
    environment: list[tuple[str, str]] = field(default_factory=list)

    @property
    def share(self) -> bool:
        return self.metric.endswith("accuracy")

    def format_value(self, value: float | None, deviation: float | None = None) -> str:
        """A value of the metric as a person reads it: "98.20 % ± 0.31"."""
        if value is None:
            return "—"
        spread = "" if deviation is None else f" ± {100 * deviation:.2f}" if self.share else f" ± {deviation:.4f}"
        return f"{100 * value:.2f}{spread} %" if self.share else f"{value:.4f}{spread}"


def of_study(folder: Path, baseline: str | None = None, search: bool = True) -> Content:
    """Without `search` it is left out what mattered in one.

    Raises ConfigError if this is no study or has no such arm, RunError if it is damaged.
    """
    study = Manifest.read(folder)
    reading = reading_of(study)
    found = verdict(reading, baseline)
    entries = last_stage(study)
    arms: dict[str, list[Run]] = {}
    for name, entry in zip(arm_names(entries), entries, strict=True):
        arms.setdefault(name, []).append(run_of(study.path(entry), _replicate(entry), entry.config))
    values = {arm.name: arm.values for arm in reading.arms}
    ranked = sorted(
        (Arm(name, tuple(runs), values[name]) for name, runs in arms.items()),
        key=lambda arm: (arm.mean is None, -study.sweep.sign * (arm.mean or 0.0)),
    )
    sentences = lines(reading, baseline)
    footnotes = [line for line in (found.test, found.floor) if line]
    return Content(
        "study",
        _title(study),
        folder,
        _facts(study, ranked),
        [line for line in sentences if line not in footnotes],
        footnotes,
        study.sweep.metric,
        study.sweep.sign,
        "run" if len(study.replicates) > 1 else reading.design.unit,  # its table counts runs, not folds
        ranked,
        _differences(ranked),
        _search(study, ranked, entries) if search else None,
        _environment(ranked, study),
    )


def of_run(folder: Path) -> Content:
    """Raises ConfigError if this is no run, RunError if it is damaged."""
    path = folder / "config.yaml"
    if not path.is_file():
        raise ConfigError(f"{folder}: is not the folder of a run, {path} does not exist")
    config = read_config(path)
    try:
        what = f"{config['model']['name']} on {config['dataset']['name']} with {config['optimizer']['name']}"
        planned = parse_json_as(RunLimits, json.dumps(config))
    except (TypeError, LookupError):
        raise RunError(f"{path} is damaged, or of another version") from None
    except ValueError as error:
        raise RunError(f"{path} is damaged, or of another version: {error}") from None
    run = run_of(folder, "", config, planned)
    validated = [row for row in run.epochs if row["validation_loss"] is not None]
    best = min(validated, key=lambda row: row["validation_loss"], default=None)
    if best and best["validation_accuracy"] is None:
        raise RunError(f"{folder / METRICS} is damaged: epoch {best['epoch']} has no validation_accuracy")
    values = {"": best["validation_accuracy"]} if best else {}
    arm = Arm(folder.name, (run,), values)
    said = ["No validation of this run has come to a finite loss."]
    if config["dataset"].get("validation_size") == 0 and not config["dataset"].get("folds"):
        said = ["It was trained on all images: none is left to validate on."]
    if best:
        accuracy, epoch = best["validation_accuracy"], best["epoch"]
        said = [
            f"The lowest validation loss, {best['validation_loss']:.4f}, was in epoch {epoch} of {len(run.epochs)}:"
            f" {accuracy:.2%} of the validation images were right.",
            "One run tells nothing of what another seed would give: repeat it with -m seed=0,1,2.",
        ]
    ended = _ended(run, planned.epochs)
    said = [*ended, *said] if run.outcome.state == "failed" else [*said, *ended]
    said.append(f"What may be wrong with it: {command('doctor', folder)}")
    facts = [("State", run.outcome.state), ("Epochs", f"{len(run.epochs)} of {planned.epochs}")]
    facts.append(("Trained for", duration(run.seconds)))
    return Content(
        "run", what, folder, facts, said, [], "validation_accuracy", 1, "run", [arm], {}, None, _environment([arm])
    )


def _replicate(entry: Entry) -> str:
    return " ".join(f"{key}={value}" for key, value in entry.point.items() if key in REPLICATES)


def _ended(run: Run, planned: int) -> list[str]:
    """Of a run that has not come to its last epoch, why."""
    state, epochs = run.outcome.state, f"{len(run.epochs)} of {planned} epochs"
    reason = printable(run.outcome.reason or "not said").partition(". ")[0]  # the advice is the doctor's
    ended = f"It ended after {epochs}: {reason}." if run.outcome.reason else f"It stopped early, after {epochs}."
    told = {
        "failed": f"It failed after {epochs}: {reason}.",
        "interrupted": f"It was interrupted after {epochs}: {reason}. {continue_hint(run.folder)}",
        "running": f"It is still running: {epochs} so far.",
        "finished": "" if len(run.epochs) >= planned else ended,
    }
    return [line for line in [told.get(state, "")] if line]


def _title(study: Manifest) -> str:
    """What is compared, or the study's name where that is long."""
    axes = "; ".join(study.axes)
    return axes if axes and len(axes) <= 80 and not axes.startswith("arm=") else study.name


def _facts(study: Manifest, arms: Sequence[Arm]) -> list[tuple[str, str]]:
    states = [run.outcome.state for arm in arms for run in arm.runs]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(sorted(states)))
    runs = [run for arm in arms for run in arm.runs]
    images = next((run.outcome.validation_images for run in runs if run.outcome.validation_images), 0)
    first = runs[0].config if runs else {}
    dataset = str(dict(_flat(first)).get("dataset.name", "?"))
    varied = "; ".join((*study.axes, *study.replicates)) or "nothing"
    return [
        ("Compared", varied),
        ("Runs", counts),
        ("Data", f"{dataset}, {images} validation images" if images else dataset),
        ("Started", study.started.replace("T", " ")[:16] + " UTC"),
        ("Training", duration(sum(run.seconds for arm in arms for run in arm.runs)) + " in all"),
        ("Command", study.restart_command),
        *([("Stages", "; ".join(str(stage["text"]) for stage in study.stages))] if study.stages else []),
    ]


def _differences(arms: Sequence[Arm]) -> dict[str, list[str]]:
    """The settings in which the arms differ, with the value in each."""
    flat = [dict(_flat(arm.runs[0].config)) for arm in arms]
    keys = dict.fromkeys(key for each in flat for key in each)
    not_compared = {*tagged(Tag.NO_EFFECT, Tag.PLACE), *REPLICATES}
    rows = {
        key: [str(each.get(key, "—")) for each in flat]
        for key in keys
        if key.split(".")[0] not in not_compared and key not in REPLICATES
    }
    return {key: row for key, row in rows.items() if len(set(row)) > 1}


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _search(study: Manifest, arms: Sequence[Arm], entries: Sequence[Entry]) -> dict[str, Any] | None:
    """Of a search, or a grid over several settings: each point's place on the axes, and what mattered."""
    from trainer.reports.importance import described

    if study.sweep.method == "grid" and len(study.axes) < 2:
        return None
    points = {name: entry.point for name, entry in zip(arm_names(entries), entries, strict=True)}
    tried = [(points[arm.name], arm.mean) for arm in arms if arm.mean is not None]
    return described(tried, [text.partition("=")[0] for text in study.axes], study.sweep.sign)


def _environment(arms: Sequence[Arm], study: Manifest | None = None) -> list[tuple[str, str]]:
    """What the runs ran on; where versions differ between them, all are told."""
    stamps = [run.stamp for arm in arms for run in arm.runs if run.stamp]
    if not stamps:
        return []
    first = stamps[0]
    git = study.git if study else first.git
    rows = [("trainer", first.trainer), ("Python", first.python), ("Platform", first.platform)]
    for name in first.packages:
        rows.append((name, ", ".join(dict.fromkeys(str(stamp.packages.get(name)) for stamp in stamps))))
    devices = [f"{stamp.device}, {stamp.threads} thread{'s' if stamp.threads > 1 else ''}" for stamp in stamps]
    rows.append(("Device", "; ".join(dict.fromkeys(devices))))
    if git:
        rows.append(
            ("Commit", f"{git.get('commit')}{', with changes that are not committed' if git.get('dirty') else ''}")
        )
    return rows


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
