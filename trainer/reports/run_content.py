"""The content of the report of one run, read from its folder. Imports no torch."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.config.own_record import words, yours
from trainer.config.recorded import with_defaults
from trainer.config.shell import command
from trainer.errors import ConfigError, RunError, printable
from trainer.records.metrics import METRICS, further_of, in_words, shown_figure
from trainer.reports.content import ArmReport, Content
from trainer.reports.facts import data_text, environment_rows, moment, own_techniques, without_checksum
from trainer.reports.run_files import Run, RunLimits, run_of
from trainer.runtime.console import duration
from trainer.runtime.text import counted
from trainer.storage.untrusted import parse_json_as, read_config
from trainer.study.manifest import Manifest
from trainer.study.rerun import command_of, continue_hint


def of_run(folder: Path, full: bool = False) -> Content:
    """Return the content of a run's report; `full`: also its data, command and settings, which takes half a second.

    Raises ConfigError if this is no run, RunError if it is damaged.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise ConfigError(f"{folder}: is not the folder of a run, {path} does not exist")
    config = read_config(path)
    try:
        title = f"{config['model']['name']} on {config['dataset']['name']} with {config['optimizer']['name']}"
        limits = parse_json_as(RunLimits, json.dumps(config))
    except (TypeError, LookupError):
        raise RunError(f"{path} is damaged, or of another version") from None
    except ValueError as error:
        raise RunError(f"{path} is damaged, or of another version: {error}") from None
    run = run_of(folder, "", config, limits)
    # A loss that was not finite is null in the file, so this is the epoch that the run itself kept as its best.
    validated = [row for row in run.epochs if row["validation_loss"] is not None]
    best = min(validated, key=lambda row: row["validation_loss"], default=None)
    if best and best["validation_accuracy"] is None:
        raise RunError(f"{folder / METRICS} is damaged: epoch {best['epoch']} has no validation_accuracy")
    arm = ArmReport(folder.name, {"": best["validation_accuracy"]} if best else {}, (run,))
    sentences = ["No validation of this run has come to a finite loss."]
    if config["dataset"].get("validation_size") == 0 and not config["dataset"].get("folds"):
        sentences = ["It was trained on all images: none is left to validate on."]
    if best:
        accuracy, epoch = best["validation_accuracy"], best["epoch"]
        read = " that can be read" if run.damaged_lines else ""
        sentences = [
            f"The lowest validation loss{read}, {best['validation_loss']:.4f}, was in epoch {epoch} of"
            f" {run.last_epoch}: {accuracy:.2%} of the validation images were right.",
            *_beside(best),
            "One run does not show what another seed would give: repeat it with -m seed=0,1,2.",
        ]
    ended = _ended(run, limits.epochs)
    sentences = [*ended, *sentences] if run.outcome.state == "failed" else [*sentences, *ended]
    sentences += [f"{line}." for line in run.damage]
    sentences.append(f"What may be wrong with it: {command('doctor', folder, *words([folder]))}")
    facts = [("State", run.outcome.state), ("Epochs", f"{run.last_epoch} of {limits.epochs}")]
    facts += [("Trained for", duration(run.seconds)), *own_techniques(yours([folder]))]
    if full:
        facts += [*_origin(run), *without_checksum([folder])]
    return Content(
        kind="run",
        title=title,
        folder=folder,
        facts=facts,
        verdict=sentences,
        footnotes=[],
        metric="validation_accuracy",
        sign=1,
        unit="run",
        arms=[arm],
        differences={},
        environment=environment_rows(arm.runs),
        damage=list(run.damage),
        started=run.environment.started if run.environment else "",
        settings=with_defaults(config) if full else [],
    )


def _beside(best: Mapping[str, Any]) -> list[str]:
    """Return a sentence on the metrics of the best epoch, none where it has no others than every run."""
    found = {in_words(name).lower(): (name, value) for name, value in further_of(best, "validation").items()}
    words = [f"{word} {shown_figure(name, value)}" for word, (name, value) in found.items() if value is not None]
    return [f"In that epoch: {', '.join(words)}."] if words else []


def _origin(run: Run) -> list[tuple[str, str]]:
    """Return what a run was made of, and when: the fingerprint of its data is that in the record of its study."""
    data: Mapping[str, str] = {}
    with contextlib.suppress(ConfigError, RunError):  # of no study, or of a damaged one
        data = Manifest.read(run.folder.resolve().parent).data
    rows = [("Data", data_text(run.config, run.outcome, data.values()))]
    if run.environment:
        rows.append(("Started", moment(run.environment.started)))
    line = command_of(run.folder)
    return [*rows, ("Command", line)] if line else rows


def _ended(run: Run, planned: int) -> list[str]:
    """Return why a run has not come to its last epoch; [] if it has."""
    state, epochs = run.outcome.state, f"{run.last_epoch} of {counted(planned, 'epoch')}"
    # printable: the text is untrusted and may hold control characters. Without the advice, which `doctor` gives.
    reason = printable(run.outcome.reason or "no reason was recorded").partition(". ")[0]
    ended = f"It ended after {epochs}: {reason}." if run.outcome.reason else f"It stopped early, after {epochs}."
    reasons = {
        "failed": f"It failed after {epochs}: {reason}.",
        "interrupted": f"It was interrupted after {epochs}: {reason}. {continue_hint(run.folder)}",
        "running": f"It is still running: {epochs} so far.",
        # A run that finished below its epochs was ended by early stopping, or recorded another reason.
        "finished": "" if run.last_epoch >= planned else ended,
    }
    return [line for line in [reasons.get(state, "")] if line]
