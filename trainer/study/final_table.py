"""The end of a study on the terminal: the table of its arms, the best one, the verdict and every failure."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.table import Table
from rich.text import Text

from trainer.config.shell import command
from trainer.records.metrics import shown_figure
from trainer.records.outcome import DONE, Outcome
from trainer.runtime.console import duration, say, show_table
from trainer.runtime.files import write_text
from trainer.runtime.text import counted
from trainer.stats.arms import ranked
from trainer.stats.score_rule import described
from trainer.stats.verdict import Verdict
from trainer.study.axes import ARM, point_label
from trainer.study.blocks import blocks_of, makes_block, within_block
from trainer.study.borders import warn_of_borders_by_technique
from trainer.study.columns import COLUMNS, Column
from trainer.study.judging import nowhere_finite, verdict
from trainer.study.looks import contenders, end_of
from trainer.study.manifest import Manifest
from trainer.study.plan import Plan
from trainer.study.reservations import constant_rates, told_changes, unmeasured_runs
from trainer.study.results import StudyArm, arms_of, common_rule, results_of
from trainer.study.winner import best_arm

ONE_RUN = "To train one run of this configuration alone:"
MAX_VALUES = 12  # of an arm in the table
MAX_COMPARISONS = 5  # the nearest to the best arm


def show_results(plan: Plan, folder: Path, not_started: int = 0) -> int:
    """Write `table.csv`, print the table, the best arm and every failure; return exit code 1 if a run failed.

    `not_started`: the number of runs that `sweep.on_error=stop` left out.
    """
    study = Manifest.read(folder)
    # The points at which arms were tuned are told in a sentence for each arm; table.csv has their runs.
    last = max((entry.stage for entry in study.entries), default=1)
    shown = [entry for entry in study.entries if entry.stage == last or not study.tuned]
    arms = arms_of(study, shown, by_trial=True)
    # Best first, and the last stage before the others: its runs are the longest. The sort is stable.
    arms = sorted(ranked(arms, plan.settings.sign), key=lambda arm: -arm.stage)
    blocks = blocks_of(study)
    place = {entry.folder: place for place, block in enumerate(blocks) for entry in block.study.entries}
    arms.sort(key=lambda arm: place.get(arm.entries[0].folder, 0))
    _write_csv(study)
    show_table(_table(plan, arms, study))
    told = " ".join(f"{key}={value} {value}" for arm in arms for key, value in arm.point.items()).split(" ")
    if fixed := [f"{name} of {file}" for name, file in study.yours.items() if name not in told]:
        say(f"Yours: {', '.join(fixed)}")
    for block in blocks:
        inside = {entry.folder for entry in block.study.entries}
        if len(block.study.axes):
            _show_best(plan, [arm for arm in arms if arm.entries[0].folder in inside], block.name)
    if not blocks:
        _show_best(plan, contenders(study, arms))
    if any("finished" in arm.states for arm in arms):
        _show_verdict(study)
    outcomes = [(entry, study.outcome(entry)) for entry in study.entries]
    failed = [(entry, outcome) for entry, outcome in outcomes if outcome.state == "failed"]
    for entry, outcome in failed:
        reason = (outcome.reason or "").partition(". ")[0]  # the advice behind it is in the log
        say(f"Failed: {entry.label}: {reason}. Log: {study.path(entry) / 'log.txt'}", "red")
    if not_started:
        runs = counted(not_started, "run was", "runs were")
        say(
            f"Stopped at the first failure (sweep.on_error=stop): {runs} not started. With sweep.on_error=continue the"
            f" same command{' without retrain=true' if plan.retrain else ''} trains the rest",
            "yellow",
        )
    say(f"Study: {study.folder}")
    say(f"Curves and more: {command('report', study.folder, '--open')}")
    return 1 if failed or nowhere_finite(results_of(study)) else 0


def _show_best(plan: Plan, arms: Sequence[StudyArm], block: str = "") -> None:
    """Print the best of arms that can be compared with each other, and its command; `block`: the name of theirs."""
    stage = max((arm.stage for arm in arms), default=1)
    last = [arm for arm in arms if arm.values and arm.stage == stage >= plan.settings.last_stage]
    if not last:
        return
    best = best_arm(last, plan.settings.sign)
    named = plan.settings.block_keys
    axes = [axis for axis in plan.axes if not (block and makes_block(axis.key, named))]
    warn_of_borders_by_technique(plan, axes, ranked(last, plan.settings.sign), f"on {block}" if block else "")
    label = point_label(within_block(best.point, named) if block else best.point, ", ")
    say(f"Best{' on ' if block else ''}{block}: {label}" if label else ONE_RUN, "bold")
    say(f"  {plan.command(best.texts)}")


def _show_verdict(study: Manifest) -> None:
    """Print the verdict; of many comparisons those nearest to the best arm."""
    results = results_of(study)
    judged = verdict(results)
    shown, left_out = _shortest(judged, None if study.ablation else MAX_COMPARISONS)
    first, *more = [*shown.lines(), *told_changes(results), *constant_rates(results), *unmeasured_runs(results)]
    asked = study.settings.asked
    say("\n" + "\n".join([*asked, f"Answer: {first}" if asked else first, *more]))
    if left_out:
        say(f"{counted(left_out, 'more comparison')}: see the report, below")


def _shortest(judged: Verdict, most: int | None) -> tuple[Verdict, int]:
    """Return the verdict with the first comparisons of each block, and how many are left out; None: all of them."""
    blocks = [(name, *_shortest(each, most)) for name, each in judged.blocks]
    comparisons = judged.comparisons[:most]
    left_out = len(judged.comparisons) - len(comparisons) + sum(each for *_, each in blocks)
    shown = tuple((name, each) for name, each, _ in blocks)
    return replace(judged, comparisons=comparisons, blocks=shown), left_out


def _table(plan: Plan, arms: Sequence[StudyArm], study: Manifest) -> Table:
    """Return the table: a column for each axis, then the metric's mean and deviation, and the value of each run."""
    keys = [axis.key for axis in plan.space]
    keys.sort(key=lambda key: not makes_block(key, plan.settings.block_keys))  # what makes the blocks comes first
    stages = ["stage"] if plan.settings.last_stage > 1 and not plan.sweep.tuned else []
    metric, own = plan.settings.metric, study.yours
    repeated = " and ".join(axis.key for axis in plan.replicates)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in (*stages, *keys):
        table.add_column(title, overflow="fold")
    rule = arms[0].score if arms else ""
    table.add_column(described(metric, rule) + (" ± sd" if plan.replicates else ""), justify="right")
    table.add_column(f"by {repeated}" if repeated else "", overflow="fold")
    further = [COLUMNS[name] for name in plan.settings.columns]
    for title in ("best epoch", *(column.title for column in further), "time"):
        table.add_column(title, justify="right", overflow="fold")
    if study.looks:
        table.add_column("looks", overflow="fold")
    for arm in arms:
        stage = [str(arm.stage)] if stages else []
        values = [arm.point.get(key, "") for key in keys]
        values = [_shown(key, value, study.labels, own) for key, value in zip(keys, values, strict=True)]
        cells = [*stage, *values, *_figures(arm, metric, further), *([end_of(study, arm)] if study.looks else [])]
        table.add_row(*map(Text, cells))
    return table


def _shown(key: str, value: str, labels: Mapping[str, str], own: Mapping[str, str]) -> str:
    """Return the value of an axis, an arm by its name, an own technique with its file."""
    words = value.split(" ") if key == ARM else [f"{key}={value}"]
    files = "".join(f" (yours: {own[word]})" for word in words if word in own)
    return f"{labels.get(value, value) if key == ARM else value}{files}"


def _figures(arm: StudyArm, metric: str, further: Sequence[Column]) -> list[str]:
    """Return the cells of an arm behind its point: mean and deviation, values, best epochs, further figures, time."""
    mean = shown_figure(metric, arm.mean) if arm.values else "—"
    deviation = "" if arm.deviation is None else f" ± {shown_figure(metric, arm.deviation)}"
    # The value of a single finished run is its arm's mean and is not repeated.
    several = len(arm.outcomes) > 1 or not arm.values
    values = [_value(outcome, metric, arm.score) for outcome in arm.outcomes] if several else []
    epochs = [str(outcome.best_epoch) for outcome in arm.outcomes if outcome.state in DONE]
    seconds = sum(outcome.seconds for outcome in arm.outcomes)
    cells = [column.cell(arm.outcomes) for column in further]
    return [mean + deviation, _shortened(values), _shortened(epochs), *cells, duration(seconds)]


def _value(outcome: Outcome, metric: str, rule: str) -> str:
    if outcome.state not in DONE:
        return outcome.state
    figure = outcome.value(metric, rule) if outcome.state == "finished" else outcome.figure(metric)
    value = "—" if figure is None else shown_figure(metric, figure)
    return value if outcome.state == "finished" else f"({value} pruned)"


def _shortened(values: Sequence[str]) -> str:
    """Join the first values; all of them are in table.csv."""
    return ", ".join([*values[:MAX_VALUES], *(["…"] if len(values) > MAX_VALUES else [])])


def _write_csv(study: Manifest) -> None:
    """Write a row for each run, with every digit; nothing in it depends on the time or the place.

    `score`: the value by which the run is compared; the other figures are those of its best epoch.
    """
    keys = list(dict.fromkeys(key for entry in study.entries for key in entry.point))
    outcomes = [study.outcome(entry) for entry in study.entries]
    further = sorted({name for outcome in outcomes for name in outcome.further})
    metric, score = study.settings.metric, study.settings.score
    rule, _ = common_rule(score, metric, outcomes)
    before, after = ("state", "epochs", "best_epoch", "validation_loss", "validation_accuracy"), ("reason",)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "stage", "trial", *keys, *before, *further, "score", *after])
    for entry, outcome in zip(study.entries, outcomes, strict=True):
        values = [*(getattr(outcome, name) for name in before), *map(outcome.figure, further)]
        values += [outcome.value(metric, rule), *(getattr(outcome, name) for name in after)]
        writer.writerow([entry.id, entry.stage, entry.trial, *(entry.point.get(key, "") for key in keys), *values])
    write_text(study.folder / "table.csv", text.getvalue())
