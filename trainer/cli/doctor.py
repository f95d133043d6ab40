"""`python -m trainer doctor RUN`: diagnose a run, and name the setting to try.

The rules follow published checklists (Karpathy's recipe, Google's tuning playbook). Each finding comes with the figures
behind it, a failed epoch is trained again to find the layer where it began, and `--selftest` measures the precision and
recall of each rule on this machine.
"""

import itertools
import json
import os
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.cli.common import Parser, count, device, not_empty
from trainer.errors import ConfigError, RunError
from trainer.records.layout import BEST, LAST
from trainer.records.metrics import METRICS
from trainer.runtime.files import expanded
from trainer.runtime.text import counted
from trainer.storage.places import named_run
from trainer.storage.untrusted import refuse_earlier_version

if TYPE_CHECKING:
    from trainer.diagnosis.examine import Record
    from trainer.diagnosis.inputs import Evidence, Finding
    from trainer.diagnosis.selftest import Score, Trial
    from trainer.records.outcome import Outcome
    from trainer.storage.checkpoint import Kind
    from trainer.storage.checkpoint_state import Last

FIRST_SEED = 500  # of the self-test; thresholds and faults were tuned on seeds below 400

DESCRIPTION = """\
Diagnose a run: what may be wrong, the figures that show it, and the setting to try.

The rules cover underfitting, overfitting, the learning rate, the initial weights, the batch size, the labels and the
stopping. A run that failed is trained again from its last checkpoint, to find the layer and step where it began."""

EPILOG = """\
--selftest trains small runs on digits with each of the faults, and counts correct, missed and wrong findings (about
a minute on two cores).

examples:
  python -m trainer doctor outputs/RUN
  python -m trainer doctor outputs/sweeps/STUDY/RUN --json
  python -m trainer doctor --selftest

exit code 0: done, with or without findings. 1: the run cannot be read, or the self-test is below 0.9. 2: the command
is wrong."""


def parser() -> Parser:
    """Return the parser of the command."""
    options = Parser("doctor", DESCRIPTION, EPILOG)
    options.add_argument("run", nargs="?", metavar="RUN", help="folder of a finished or failed run")
    options.add_argument("--json", action="store_true", help="print the findings as JSON")
    options.add_argument(
        "--data-dir",
        type=not_empty,
        metavar="DIR",
        help="folder of the data; default: that of the run. The self-test needs it only to use MNIST too",
    )
    options.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda, cuda:N, mps; default: auto")
    options.add_argument(
        "--selftest", action="store_true", help="measure precision and recall of each rule, without a RUN"
    )
    options.add_argument(
        "--first-seed", type=count, default=FIRST_SEED, metavar="N", help="first seed of the self-test's runs"
    )
    options.add_argument(
        "--processes", type=count, metavar="N", help="processes of the self-test; default: one per core"
    )
    return options


def main(arguments: Sequence[str]) -> int:
    """Print the diagnosis, or measure the rules. Return 0, or 1 if a rule of the self-test falls short."""
    request = parser().read(arguments)
    if request.selftest:
        if request.run:
            raise ConfigError("--selftest trains runs of its own: leave RUN out")
        return _selftest(request.first_seed, request.data_dir, request.processes or os.cpu_count() or 1)
    if request.run is None:
        parser().error("RUN: is missing")
    folder = named_run(request.run)
    from trainer.runtime.console import waiting
    from trainer.runtime.stdio import holds_unicode

    with waiting("Loading torch"):
        from trainer.diagnosis.examine import examine
        from trainer.diagnosis.rules import diagnose
    record = read(folder, request.data_dir, request.device)
    with waiting("Examining the network"):
        evidence = examine(record)
    findings = diagnose(evidence)
    if request.json:
        print(json.dumps(_plain(folder, evidence, findings), indent=2, ensure_ascii=not holds_unicode()))
    else:
        _show(folder, evidence, findings)
    return 0


def read(folder: Path, data_dir: str | None, where: str) -> "Record":
    """Return the run in a folder, with its data. Raises RunError or ConfigError if a part is missing or damaged."""
    from trainer.config.check import check
    from trainer.config.own_record import match
    from trainer.data.download import refuse_download
    from trainer.data.identity import data_differences, identity_of
    from trainer.data.loader import load
    from trainer.diagnosis.examine import Record
    from trainer.records.code import warn_of_other_network
    from trainer.records.metrics import read_metrics
    from trainer.runtime.console import warn
    from trainer.storage.checkpoint_state import Best, Last
    from trainer.storage.untrusted import read_config
    from trainer.training.build import pick_device
    from trainer.training.resume_check import checkpoint_errors

    tree = read_config(folder / "config.yaml")
    match(folder, tree)
    config = check(tree, files=[folder / "config.yaml"])
    if data_dir is None:
        refuse_download(config.dataset.name, config.data_dir, folder / "config.yaml", "--data-dir DIR")
    warn_of_other_network(folder, config)
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
    state = last.trainer if last else None
    if last and "data" in last.provenance:
        with checkpoint_errors(folder / LAST):
            others = data_differences(last.provenance["data"], identity_of(images, training, validation))
        if others:
            warn(f"{folder} was trained on other data, so the figures are not those of the run: {', '.join(others)}")
            state = {key: value for key, value in last.trainer.items() if key != "hits"}  # of the other images
    weights = best.model if best else None
    return Record(config, training, validation, target, rows, state, weights, folder)


def _loaded(kind: "type[Kind]", path: Path) -> "Kind | None":
    """The checkpoint, None where there is none. Raises RunError if it is one of the other kind or version."""
    from trainer.storage import checkpoint

    refuse_earlier_version(path)
    return checkpoint.load_as(kind, path) if path.is_file() else None


def _refuse_gaps(folder: Path, epochs: Collection[int], last: "Last | None", best: bool) -> None:
    """Raise RunError if a file that the run wrote is missing or has lost lines: the rules would mislead without it."""
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
        which = f"{lost} of {counted(last.epoch, 'epoch')} that {folder / LAST} has, the first is epoch {first}"
        raise RunError(f"{folder / METRICS} is damaged or missing: it lacks {which}")
    try:
        epoch = last.trainer["early_stopping"]["best_epoch"] if last else 0
    except (LookupError, TypeError):
        raise RunError(f"{folder / LAST} is not a run's last checkpoint: it names no best epoch") from None
    if epoch and not best:
        raise RunError(f"{folder / BEST} is missing, the network of epoch {epoch}, with the lowest validation loss")


def _plain(folder: Path, evidence: "Evidence", findings: "Sequence[Finding]") -> dict[str, Any]:
    from trainer.study.rerun import command_with

    rows = [
        {key: value for key, value in asdict(finding).items() if key != "explains"}
        | {"command": command_with(folder, finding.override) if finding.override else None}
        for finding in findings
    ]
    divergence = asdict(evidence.divergence) if evidence.divergence else None
    return {"run": str(folder), "epochs": len(evidence.rows), "findings": rows, "divergence": divergence}


def _show(folder: Path, evidence: "Evidence", findings: "Sequence[Finding]") -> None:
    from trainer.diagnosis.rules import RULES
    from trainer.records.outcome import is_alive, read_outcome
    from trainer.runtime.console import closing_table, say
    from trainer.study.rerun import command_with

    alive, ended = is_alive(folder), read_outcome(folder)  # before the first line is printed: it may be damaged
    epochs = f"{len(evidence.rows)} of {counted(evidence.config.epochs, 'epoch')}"
    for finding in findings:
        say(finding.name[0].upper() + finding.name[1:], "bold")
        trying = [("To try", command_with(folder, finding.override))] if finding.override else []
        closing_table([("Seen", finding.seen), ("Meaning", finding.meaning), *trying])
    if not findings:
        layers = len(evidence.final["layers"]) if evidence.final else 0
        say(f"Nothing found: {len(RULES)} rules looked at {epochs} and {counted(layers, 'layer')} of {folder}")
    if len(evidence.rows) < evidence.config.epochs and not evidence.stopped_early and evidence.divergence is None:
        say(f"It has trained {epochs}; the next one, trained again, stays finite. {_why(folder, ended, alive)}")


def _why(folder: Path, ended: "Outcome", alive: bool) -> str:
    """Return the reason, as recorded, why a run has not trained its next epoch, which is sound."""
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

    from trainer.runtime.console import err, on_screen, say, waiting

    with waiting("Loading torch"):
        from trainer.diagnosis.selftest import GOAL, results, scores, trials
    chosen = trials(first_seed, data_dir)
    runs = results(chosen, processes)
    outcomes = list(
        track(runs, "Runs with faults", len(chosen), console=err, transient=True, disable=not on_screen(err))
    )
    table = scores(outcomes)
    _show_scores(table, outcomes)
    alarms = [names for trial, names in outcomes if trial.fault is None and names]
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
    for trial, names in sorted(outcomes, key=lambda outcome: (outcome[0].fault or "", outcome[0].index)):
        if set(names) != ({trial.fault} if trial.fault else set()):
            listed = ", ".join(names) or "nothing"
            say(f"{trial.fault or 'healthy'}, {' '.join(trial.settings)} seed={trial.seed}: found {listed}")
    for fault in FAULTS:
        if fault.companions:
            say(f"Not counted as wrong in runs with {fault.name}: {', '.join(sorted(fault.companions))}")
