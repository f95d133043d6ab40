"""The test of one claim: its study is trained, or its demonstration computed, and judged."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from trainer.errors import ConfigError, RunError, as_reported, reason_of
from trainer.lecture.claim import Claim
from trainer.lecture.content import FAILED, FAILS, HOLDS, SHOWN, ClaimResult, StatementResult
from trainer.lecture.judge import Measured, answers, verdict_of
from trainer.lecture.measuring.runs import RunRecord
from trainer.lecture.saved import save
from trainer.lecture.selection import Runs, Settings, chosen, measure_of, measured, refuse_unfit
from trainer.lecture.task import Task
from trainer.runtime.console import logged_to
from trainer.runtime.files import make_folder
from trainer.study.fingerprint import digest, significant
from trainer.study.manifest import Manifest
from trainer.study.plan import plan_from

Records = Sequence[tuple[Settings, RunRecord]]


def identities(task: Task) -> list[str]:
    """Return what identifies each run that a claim's study plans, so that claims that share runs can be found.

    Raises ConfigError for a mistake in its settings, and for a statement that does not fit its runs.
    """
    if not task.words:
        return []
    plan = plan_from(["-m", *task.study_words])
    refuse_unfit(task.claim, plan)
    return [digest(significant(run.config.tree())) for run in plan.runs]


def perform(task: Task) -> ClaimResult:
    """Test a claim, save the result in its file, and return it. A failure is a result, too; an interrupt is not."""
    started = time.monotonic()
    make_folder(task.record.parent)
    try:
        with logged_to(task.log):
            found = _study(task) if task.words else _demonstration(task)
    except KeyboardInterrupt as error:
        raise as_reported(error) from None
    except (ConfigError, RunError, OSError, ArithmeticError, ValueError, LookupError, TypeError) as error:
        found = replace(blank(task), verdict=FAILED, reason=f"{reason_of(error)}. All that was said: {task.log}")
    found = replace(found, seconds=time.monotonic() - started)
    save(task, found)
    return found


def blank(task: Task, verdict: str = FAILED) -> ClaimResult:
    """Return the result of a claim without any figure."""
    return with_texts(task.claim, verdict, task.command)


def with_texts(claim: Claim, verdict: str, command: str = "") -> ClaimResult:
    """Return a result that has the texts of a claim alone."""
    return ClaimResult(
        claim.name,
        claim.note,
        claim.places,
        claim.title,
        claim.claim,
        verdict,
        claim.next,
        claim.formula,
        command=command,
    )


def _demonstration(task: Task) -> ClaimResult:
    named = task.claim.demonstration
    assert named is not None
    shown = named.call("demonstration")
    facts = tuple(
        StatementResult(fact.sentence, HOLDS if fact.holds else FAILS, fact.sentence, exact=True)
        for fact in shown.facts
    )
    verdict = verdict_of(facts) if facts else SHOWN
    return replace(blank(task, verdict), statements=facts, figures=tuple(shown.figures))


def _study(task: Task) -> ClaimResult:
    from trainer.reports.wandb_report import log_verdict
    from trainer.study.execute import run_study

    result = run_study(plan_from(["-m", *task.study_words]))
    assert result.folder is not None
    if result.trained or not (result.folder / "wandb").is_dir():
        log_verdict(result.folder)
    return replace(judged(task.claim, result.folder, blank(task)), notes=_notes(task, result.folder))


def judged(claim: Claim, folder: Path, without: ClaimResult) -> ClaimResult:
    """Return the result of a claim from the runs of a study that lies in `folder`. `without`: the same without figures.

    Raises ConfigError if the study lacks an arm of the claim.
    """
    from trainer.lecture.book.pictures import figures_of

    records = records_of(Manifest.read(folder))
    arms = [chosen(statement, records) for statement in claim.statements]
    values = [measured(statement, each) for statement, each in zip(claim.statements, arms, strict=True)]
    found = answers(claim, values)
    verdict = verdict_of(found)
    return replace(
        without,
        verdict=verdict,
        here=here(records),
        statements=found,
        figures=figures_of(claim, _together(arms), found, lambda statement, run: measure_of(statement.measure, run)),
        arms=_table(values),
        runs=len(records),
    )


def _together(statements: Sequence[Mapping[str, Runs]]) -> dict[str, Runs]:
    """Return the arms of all statements; one that several of them have is that of the first."""
    together: dict[str, Runs] = {}
    for arms in statements:
        for arm, runs in arms.items():
            together.setdefault(arm, runs)
    return together


def records_of(study: Manifest) -> list[tuple[Settings, RunRecord]]:
    """Return the runs of a study's last stage, each with its settings."""
    last = max((entry.stage for entry in study.entries), default=1)
    labels = dict(study.labels)
    return [
        (Settings.of(entry.config, entry.point, labels), RunRecord.read(study.path(entry)))
        for entry in study.entries
        if entry.stage == last and not study.is_missing(entry)
    ]


def here(records: Records) -> str:
    """Return network, data and epochs in words: "lecture_cnn on digits, 1200 training images, 15 epochs"."""
    models, data, epochs = (
        _all(settings.get(key) for settings, _ in records) for key in ("model", "dataset", "epochs")
    )
    images = _all(record.outcome.training_images for _, record in records if record.outcome.training_images)
    told = f", {images} training images" if images else ""
    return f"{models} on {data}{told}, {epochs} epoch{'' if epochs == '1' else 's'}"


def _all(values: Any) -> str:
    texts = list(dict.fromkeys(f"{value:,}" if isinstance(value, int) else str(value) for value in values))
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}" if texts else ""


def _table(values: Sequence[Measured]) -> dict[str, dict[str, str]]:
    """Return {arm: {measure: "97.3 ± 0.4 points"}}."""
    table: dict[str, dict[str, str]] = {}
    for each in values:
        for arm, by_seed in each.values.items():
            numbers = [value for value in by_seed.values() if math.isfinite(value)]
            text = "never" if not numbers else f"{mean(numbers):.4g}"
            text += f" ± {stdev(numbers):.2g}" if len(numbers) > 1 else ""
            table.setdefault(arm, {})[each.measure] = f"{text} {each.unit}".rstrip()
    return table


def _notes(task: Task, folder: Path) -> tuple[str, ...]:
    """Return what limits the comparison, and where its study lies."""
    study = Manifest.read(folder)
    states = [study.outcome(entry).state for entry in study.entries]
    notes = []
    if task.fallback:
        notes.append(f"Trained under the budget quick: {task.fallback}")
    if any(text.startswith(("split_seed=", "dataset.fold=")) for text in study.replicates):
        notes.append(
            "The repeats are other splits of the same images, which they share in part: on new images the difference"
            " varies more than its interval tells"
        )
    if failed := states.count("failed"):
        notes.append(f"{failed} of {len(states)} runs failed, as by a loss that was no longer a number")
    return (*notes, f"The study alone: {task.plain_command}")
