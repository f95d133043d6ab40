"""`python -m trainer doctor RUN`: what may be wrong with a run, in words, with the setting to try.

Checklists (Karpathy's recipe, Google's tuning playbook) tell a person what to look for; here the look is taken: the
figures are named, a failed epoch is trained again to the layer where it began, and each rule's hits and misses can be
counted on this machine (`--selftest`).
"""

import itertools
import json
import os
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.cli.common import Parser, count, device
from trainer.errors import ConfigError, RunError
from trainer.records.layout import BEST, LAST
from trainer.records.metrics import METRICS
from trainer.runtime.files import expanded
from trainer.storage.untrusted import refuse_earlier_version

if TYPE_CHECKING:
    from trainer.diagnosis.examine import Record
    from trainer.diagnosis.inputs import Evidence, Finding
    from trainer.diagnosis.selftest import Score, Trial
    from trainer.records.outcome import Outcome
    from trainer.storage.checkpoint import Kind
    from trainer.storage.checkpoint_state import Last

FIRST_SEED = 500  # of the self-test; thresholds and faults were set on seeds below 400

DESCRIPTION = """\
Says what may be wrong with a run: whether it fits its training images, whether it only fits those, whether the learning
rate, the initial weights, the batch, the labels or the stopping are at fault, and what to try. A run that failed is
taken up where it was last whole and trained again, to say in which layer and step it began."""

EPILOG = """\
--selftest gives small runs on digits each of the faults, and counts what is found, missed and wrongly said (about a
minute on two cores).

examples:
  python -m trainer doctor outputs/RUN
  python -m trainer doctor outputs/sweeps/STUDY/RUN --json
  python -m trainer doctor --selftest

exit code 0: done, whatever was found. 1: the run cannot be read, or the self-test is below 0.9. 2: the command is
wrong."""


def parser() -> Parser:
    """Return the parser of the command."""
    options = Parser("doctor", DESCRIPTION, EPILOG)
    options.add_argument("run", nargs="?", metavar="RUN", help="folder of a run, finished or failed")
    options.add_argument("--json", action="store_true", help="the findings as JSON")
    options.add_argument(
        "--data-dir",
        metavar="DIR",
        help="where the data lie; default: where the run had them, for the self-test: digits alone, else MNIST too",
    )
    options.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda, cuda:N, mps; default: auto")
    options.add_argument("--selftest", action="store_true", help="precision and recall of each rule; no RUN")
    options.add_argument("--first-seed", type=count, default=FIRST_SEED, metavar="N", help="of the self-test's runs")
    options.add_argument("--processes", type=count, metavar="N", help="of the self-test; default: one a core")
    return options


def main(arguments: Sequence[str]) -> int:
    request = parser().read(arguments)
    if request.selftest:
        if request.run:
            raise ConfigError("--selftest trains runs of its own: leave RUN out")
        return _selftest(request.first_seed, request.data_dir, request.processes or os.cpu_count() or 1)
    if not request.run:
        parser().error("RUN: is missing")
    folder = expanded(request.run)
    if not (folder / "config.yaml").is_file():
        raise ConfigError(f"{request.run}: is not the folder of a run, {folder / 'config.yaml'} does not exist")
    from trainer.runtime.console import waiting

    with waiting("Loading torch"):
        from trainer.diagnosis.examine import examine
        from trainer.diagnosis.rules import diagnose
    record = read(folder, request.data_dir, request.device)
    with waiting("Looking into the network"):
        evidence = examine(record)
    found = diagnose(evidence)
    if request.json:
        print(json.dumps(_plain(folder, evidence, found), indent=2, ensure_ascii=False))
    else:
        _show(folder, evidence, found)
    return 0


def read(folder: Path, data_dir: str | None, where: str) -> "Record":
    """The run in a folder, with its data. Raises RunError or ConfigError with one line where something is missing."""
    from trainer.config.check import check
    from trainer.data.loader import load
    from trainer.diagnosis.examine import Record
    from trainer.records.metrics import read_metrics
    from trainer.storage.checkpoint_state import Best, Last
    from trainer.storage.untrusted import read_config, refuse_download
    from trainer.training.build import pick_device

    config = check(read_config(folder / "config.yaml"), (), [str(folder)])
    if data_dir is None:
        refuse_download(config.dataset.name, config.data_dir, folder / "config.yaml", "--data-dir DIR")
    # A run that goes on writes the metrics of an epoch before its checkpoints: read in the other order they are whole.
    last, best = _loaded(Last, folder / LAST), _loaded(Best, folder / BEST)
    rows = read_metrics(folder)
    _refuse_gaps(folder, {row["epoch"] for row in rows}, last, best is not None)
    rows = rows[: last.epoch if last else 0]  # a line may be written and its checkpoint not yet
    target = pick_device(where)
    images = load(config.dataset, expanded(data_dir or config.data_dir), target)
    training, validation = config.dataset.shared_function()(images, config.split_seed)
    for row in rows:
        validated = row["validation_loss"] is not None
        for name in ("train_accuracy", *(["validation_accuracy"] if validated else [])):
            if row[name] is None:
                raise RunError(f"{folder / METRICS} is damaged: epoch {row['epoch']} has no {name}")
    state, weights = last.trainer if last else None, best.model if best else None
    return Record(config, training, validation, target, rows, state, weights, folder)


def _loaded(kind: "type[Kind]", path: Path) -> "Kind | None":
    """The checkpoint, None where there is none. Raises RunError if it is one of the other kind or version."""
    from trainer.storage import checkpoint

    refuse_earlier_version(path)
    return checkpoint.load_as(kind, path) if path.is_file() else None


def _refuse_gaps(folder: Path, epochs: Collection[int], last: "Last | None", best: bool) -> None:
    """Raises RunError where a file that the run wrote is missing or has lost lines: without it rules would mislead."""
    from trainer.records.outcome import DONE, read_outcome
    from trainer.storage import checkpoint
    from trainer.study.rerun import continue_hint

    before = checkpoint.previous(folder / LAST)
    # The last checkpoint is the last file of an epoch that is written: a kill in the first epoch may leave none.
    if last is None and (len(epochs) > 1 or read_outcome(folder).state in DONE):
        kept = f". There is the one before it, {before}. {continue_hint(folder)}" if before.is_file() else ""
        raise RunError(f"{folder / LAST} is missing, though the run has trained {len(epochs)} or more epochs{kept}")
    if last and (lost := last.epoch - sum(1 <= epoch <= last.epoch for epoch in epochs)) > 0:
        first = next(epoch for epoch in itertools.count(1) if epoch not in epochs)
        which = f"{lost} of the {last.epoch} epochs that {folder / LAST} has, the first is epoch {first}"
        raise RunError(f"{folder / METRICS} is damaged or missing: it lacks {which}")
    try:
        epoch = last.trainer["early_stopping"]["best_epoch"] if last else 0
    except (LookupError, TypeError):
        raise RunError(f"{folder / LAST} is not a run's last checkpoint: it names no best epoch") from None
    if epoch and not best:
        raise RunError(f"{folder / BEST} is missing, the network of epoch {epoch}, with the lowest validation loss")


def _plain(folder: Path, evidence: "Evidence", found: "Sequence[Finding]") -> dict[str, Any]:
    from trainer.study.rerun import command_with

    told = [
        {key: value for key, value in asdict(finding).items() if key != "explains"}
        | {"command": command_with(folder, finding.override)}
        for finding in found
    ]
    divergence = asdict(evidence.divergence) if evidence.divergence else None
    return {"run": str(folder), "epochs": len(evidence.rows), "findings": told, "divergence": divergence}


def _show(folder: Path, evidence: "Evidence", found: "Sequence[Finding]") -> None:
    from trainer.diagnosis.rules import RULES
    from trainer.records.outcome import is_alive, read_outcome
    from trainer.runtime.console import closing_table, say
    from trainer.study.rerun import command_with

    alive, ended = is_alive(folder), read_outcome(folder)  # before anything is said: it may be damaged
    epochs = f"{len(evidence.rows)} of {evidence.config.epochs} epochs"
    for finding in found:
        say(finding.name[0].upper() + finding.name[1:], "bold")
        trying = command_with(folder, finding.override)
        closing_table([("Seen", finding.seen), ("Meaning", finding.meaning), ("To try", trying)])
    if not found:
        layers = len(evidence.final["layers"]) if evidence.final else 0
        say(f"Nothing found: {len(RULES)} rules looked at {epochs} and {layers} layers of {folder}")
    if len(evidence.rows) < evidence.config.epochs and not evidence.stopped_early and evidence.divergence is None:
        say(f"It has trained {epochs}; the next one, trained again, stays finite. {_why(folder, ended, alive)}")


def _why(folder: Path, ended: "Outcome", alive: bool) -> str:
    """Why a run with a next epoch that is sound has not trained it, as its record says."""
    from trainer.records.layout import JOB
    from trainer.study.rerun import continue_hint

    if alive:
        return "It is still training"
    if ended.state not in ("queued", "running"):
        return f"{folder / 'result.json'} says: {': '.join(filter(None, (ended.state, ended.reason)))}"
    if ended.state == "queued" and (folder / JOB).is_file():
        return "Its study has not started it"
    return f"It was killed. {continue_hint(folder)}"


def _selftest(first_seed: int, data_dir: str | None, processes: int) -> int:
    from rich.progress import track

    from trainer.runtime.console import err, say, waiting

    with waiting("Loading torch"):
        from trainer.diagnosis.selftest import GOAL, results, scores, trials
    chosen = trials(first_seed, data_dir)
    runs = results(chosen, processes)
    outcomes = list(
        track(runs, "Runs with faults", len(chosen), console=err, transient=True, disable=not err.is_terminal)
    )
    table = scores(outcomes)
    _show_scores(table, outcomes)
    alarms = [found for trial, found in outcomes if trial.fault is None and found]
    below = [score.rule for score in table if min(score.precision, score.recall) < GOAL]
    say(f"{len(chosen)} runs, seeds from {first_seed}; healthy runs with an alarm: {len(alarms)}", "bold")
    say(f"Below {GOAL}: {', '.join(below)}" if below else f"Every rule reaches {GOAL} in precision and recall")
    return 1 if below or alarms else 0


def _show_scores(table: "Sequence[Score]", outcomes: "Sequence[tuple[Trial, tuple[str, ...]]]") -> None:
    from trainer.diagnosis.faults import FAULTS
    from trainer.runtime.console import new_table, say, show_table

    shown = new_table(
        ("rule", "left"), *((title, "right") for title in ("runs", "found", "wrongly", "precision", "recall"))
    )
    for score in table:
        figures = (score.given, score.found, score.wrong, f"{score.precision:.2f}", f"{score.recall:.2f}")
        shown.add_row(score.rule, *map(str, figures))
    show_table(shown)
    for trial, found in sorted(outcomes, key=lambda each: (each[0].fault or "", each[0].index)):
        if set(found) != ({trial.fault} if trial.fault else set()):
            told = ", ".join(found) or "nothing"
            say(f"{trial.fault or 'healthy'}, {' '.join(trial.settings)} seed={trial.seed}: found {told}")
    for fault in FAULTS:
        if fault.companions:
            say(f"Not counted as wrong in runs with {fault.name}: {', '.join(sorted(fault.companions))}")
