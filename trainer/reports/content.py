"""The content of a report, read from the folder of a study or of one run, as plain values. Imports no torch."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trainer.config.recorded import Recorded, shown_value, typed_settings
from trainer.config.run_config import Tag, tagged
from trainer.records.metrics import shown_figure
from trainer.records.outcome import DONE, Outcome, outcome_or_damage
from trainer.reports.facts import data_text, environment_rows, moment, own_techniques, without_checksum
from trainer.reports.run_files import Run, run_of
from trainer.runtime.console import duration
from trainer.stats.arms import Arm, ranked
from trainer.stats.method import method_text
from trainer.stats.score_rule import described
from trainer.stats.verdict import Verdict
from trainer.stats.words import explained
from trainer.study.ask import with_questions
from trainer.study.axes import REPLICATES
from trainer.study.blocks import blocks_of
from trainer.study.judging import verdict
from trainer.study.manifest import Entry, Manifest
from trainer.study.reservations import reservations
from trainer.study.results import StudyArm, StudyResults, results_of


@dataclass(frozen=True)
class ArmReport(Arm):
    """An arm with the files of its runs, read. Its figures are medians over runs; None where no run has any."""

    runs: tuple[Run, ...]

    @property
    def best_epoch(self) -> float | None:
        """The epoch of the lowest validation loss."""
        return _median(run.outcome.best_epoch for run in self.runs if run.outcome.state in DONE)

    @property
    def epochs_to_near_best(self) -> float | None:
        """The epoch that first reached 95 % of the best validation accuracy."""
        return _median(run.epochs_to_near_best for run in self.runs if run.outcome.state in DONE)

    @property
    def gap(self) -> float | None:
        """The mean of the training accuracy in evaluation mode minus the validation accuracy."""
        gaps = [run.outcome.gap for run in self.runs if run.outcome.state == "finished" and run.outcome.gap is not None]
        return statistics.mean(gaps) if gaps else None

    @property
    def seconds(self) -> float | None:
        """The seconds of training."""
        return _median(run.seconds for run in self.runs if run.epochs)

    @property
    def parameters(self) -> int | None:
        """The number of the network's parameters."""
        return next((run.best.parameters for run in self.runs if run.best), None)

    def left_out(self) -> str:
        """Return the runs without a value in words: "2 failed, 1 queued"."""
        states = [run.outcome.state for run in self.runs if run.outcome.state != "finished"]
        return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


@dataclass(frozen=True)
class Content:
    """A report's content. The arms are ordered best first; `verdict` are sentences, the first ones about arms."""

    kind: str  # study or run
    title: str
    folder: Path
    facts: list[tuple[str, str]]
    verdict: list[str]
    footnotes: list[str]
    metric: str
    sign: int
    unit: str
    arms: list[ArmReport]
    differences: dict[str, list[str]]  # setting → value in each arm
    search: dict[str, Any] | None = None
    environment: list[tuple[str, str]] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)  # a sentence for each file of a run that cannot be read
    started: str = ""  # in UTC, ISO 8601; of a run its last start, "" where no file says it
    judged: Verdict | None = None  # of a study: the comparisons behind the sentences
    missing: int = 0  # runs of a study whose folders are gone
    baseline: str = ""  # the arm that the others are compared with, "" for the best one
    asked: list[str] = field(default_factory=list)  # the question of the study and what to expect, as sentences
    settings: list[Recorded] = field(default_factory=list)  # of a run
    findings: list[str] = field(default_factory=list)  # sentences that answer further questions
    score: str = ""  # the rule by which runs are scored; "" for the best epoch of a single run
    fairness: Mapping[str, Sequence[str]] = field(default_factory=dict)  # sentences by kind: unfair, implied
    blocks: "list[BlockContent]" = field(default_factory=list)  # where arms are compared within blocks only

    @property
    def sentences(self) -> list[str]:
        """The verdict, the answers to further questions, and what they rest on."""
        return [*self.verdict, *self.findings, *self.footnotes]

    @property
    def words(self) -> Sequence[tuple[str, str]]:
        """The terms that the verdict of a study uses, each with its explanation."""
        return explained(self.sentences) if self.kind == "study" else ()

    @property
    def method(self) -> str:
        """The method of the comparisons as a paragraph for a paper; "" where nothing was tested."""
        return method_text(self.judged, self.arms) if self.judged else ""

    @property
    def scored(self) -> str:
        """The metric with the rule by which runs are scored: "validation accuracy, cross-fitted"."""
        return described(self.metric, self.score)

    @property
    def share(self) -> bool:
        """True if the metric is a share, which is shown in percent."""
        return self.metric.endswith("accuracy")

    def format_value(self, value: float, deviation: float | None = None) -> str:
        """Return a value of the metric as a person reads it: "98.20 ± 0.31 %"; "—" for nan."""
        if math.isnan(value):
            return "—"
        if not self.share:
            return " ± ".join(shown_figure(self.metric, each) for each in (value, deviation) if each is not None)
        spread = "" if deviation is None else f" ± {100 * deviation:.2f}"
        return f"{100 * value:.2f}{spread} %"


@dataclass(frozen=True)
class BlockContent:
    """A block of a study, such as one of its data sets, as a study of its own. `noun`: a block in words.

    The arms of its content are named without the block; `arms` are the same ones, named in full.
    """

    name: str
    noun: str
    content: Content
    arms: list[ArmReport]


def of_study(folder: Path, baseline: str | None = None, search: bool = True, ask: str | None = None) -> Content:
    """Return the content of a study's report; without `search` the importance of settings is left out.

    `ask`: further questions in place of those of `sweep.ask`. Raises ConfigError if this is no study, has no arm
    `baseline` or cannot answer a question, RunError if its manifest is damaged.
    """
    study = Manifest.read(folder)
    return of_manifest(study if ask is None else with_questions(study, ask), baseline, search)


def of_manifest(
    study: Manifest,
    baseline: str | None = None,
    search: bool = True,
    runs: Mapping[Path, Run] | None = None,
    judged: Verdict | None = None,
) -> Content:
    """Return the content of a study's report. `runs`: those that have been read already, by their folder.

    `judged`: the verdict, where the study is a block of another one, whose verdict has those of its blocks.
    """
    known = runs or {}
    results = results_of(study, lambda path: known[path].outcome if path in known else outcome_or_damage(path))
    judged = judged or verdict(results, baseline)
    arms = ranked((read_arm(study, arm, known) for arm in results.arms), study.settings.sign)
    blocks = _blocks(study, arms, judged, search)
    arms = [arm for block in blocks for arm in block.arms] or arms
    findings = [finding.sentence for finding in judged.findings if finding.sentence != judged.outcome]
    damage = [line for arm in arms for run in arm.runs for line in run.damage]
    sentences = [*judged.lines(), *reservations(results), *damage]
    return Content(
        "study",
        _title(study),
        study.folder,
        _facts(study, arms, blocks),
        [line for line in sentences if line not in (*findings, *judged.footnotes)],
        judged.footnotes,
        study.settings.metric,
        study.settings.sign,
        "run" if len(study.replicates) > 1 else results.design.unit,  # the table counts runs, not folds
        arms,
        _differences(arms),
        _search(study, results) if search and not blocks else None,
        environment_rows([run for arm in arms for run in arm.runs], study),
        damage,
        study.started,
        judged,
        results.missing,
        judged.baseline,
        study.settings.asked,
        findings=findings,
        score=results.design.score,
        fairness=study.fairness,
        blocks=blocks,
    )


def _blocks(study: Manifest, arms: Sequence[ArmReport], judged: Verdict, search: bool) -> list[BlockContent]:
    """Return the blocks of a study with the arms of each, best first; none if all its arms are compared."""
    known = {run.folder: run for arm in arms for run in arm.runs}
    verdicts, by_run = dict(judged.blocks), {run.folder: arm for arm in arms for run in arm.runs}
    found = []
    for block in blocks_of(study):
        content = of_manifest(block.study, None, search, known, verdicts.get(block.name))
        named = [by_run[arm.runs[0].folder] for arm in content.arms]
        found.append(BlockContent(block.name, block.noun, content, named))
    return found


def read_arm(study: Manifest, arm: StudyArm, known: Mapping[Path, Run]) -> ArmReport:
    """Return an arm with the files of its runs; those in `known`, by their folder, are not read again."""
    places = {study.path(entry): entry for entry in arm.entries}
    runs = [
        replace(known[path], replicate=_replicate(entry))
        if path in known
        else run_of(path, _replicate(entry), entry.config)
        for path, entry in places.items()
    ]
    # The manifest tells a run that is missing from one that was never begun.
    outcomes = {run.folder: run.outcome for run in runs}
    runs = [replace(run, outcome=study.outcome(places[run.folder], outcomes.__getitem__)) for run in runs]
    return ArmReport(arm.name, arm.values, tuple(runs))


def _replicate(entry: Entry) -> str:
    """Return the name of a run within its arm: "seed=0"."""
    return " ".join(f"{key}={value}" for key, value in entry.point.items() if key in REPLICATES)


def _title(study: Manifest) -> str:
    """Return the axes that are compared, or the study's name where they are long."""
    axes = "; ".join(study.axes)
    # 80 characters fit into the heading and the tab of a browser.
    return axes if axes and len(axes) <= 80 and not axes.startswith("arm=") else study.name


def _facts(study: Manifest, arms: Sequence[ArmReport], blocks: Sequence[BlockContent]) -> list[tuple[str, str]]:
    """Return the lines at the top of a study's report."""
    runs = [run for arm in arms for run in arm.runs]
    states = [run.outcome.state for run in runs]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(sorted(states)))
    outcome = next((run.outcome for run in runs if run.outcome.validation_images), Outcome())
    first = runs[0].config if runs else {}
    data = [dict(block.content.facts)["Data"] for block in blocks]
    varied = "; ".join((*study.compared, *study.replicates)) or "nothing"
    return [
        ("Compared", varied),
        ("Runs", counts),
        ("Data", "; ".join(data) or data_text(first, outcome, study.data.values())),
        ("Started", moment(study.started)),
        ("Training", duration(sum(run.seconds for run in runs)) + " in all"),
        ("Command", study.own_command),
        *own_techniques(study.yours),
        *without_checksum([study.folder, *(run.folder for run in runs)]),
        *([("Not a fair comparison", "; ".join(unfair))] if (unfair := study.fairness.get("unfair")) else []),
        *([("Stages", "; ".join(str(stage["text"]) for stage in study.stages))] if study.stages else []),
    ]


def _differences(arms: Sequence[ArmReport]) -> dict[str, list[str]]:
    """Return the settings in which the arms differ, with the value in each."""
    typed = [typed_settings(arm.runs[0].config) for arm in arms]  # the runs of an arm differ in replicates alone
    keys = dict.fromkeys(key for settings in typed for key in settings)
    # Settings that change no result, place files or repeat points are no difference between arms.
    not_compared = {*tagged(Tag.NO_EFFECT, Tag.PLACE), *REPLICATES}
    rows = {
        key: [shown_value(key, settings.get(key, "—")) for settings in typed]
        for key in keys
        if key.split(".")[0] not in not_compared and key not in REPLICATES
    }
    return {key: row for key, row in rows.items() if len(set(row)) > 1}


def _search(study: Manifest, results: StudyResults) -> dict[str, Any] | None:
    """Return the points that were tried, or those of a grid over several settings, and the importance of each."""
    from trainer.reports.importance import described  # only here: it imports Optuna for a search

    axes, found = (*study.axes, *study.tuned), results.searched
    if found is None and len(axes) < 2:
        return None
    arms = results.arms if found is None else [trial for trials in found.trials.values() for trial in trials]
    return described([(arm.point, arm.mean) for arm in ranked(arms, study.settings.sign) if arm.values], axes)


def _median(values: Iterable[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return statistics.median(numbers) if numbers else None
