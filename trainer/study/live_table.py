"""What a person sees of a study: one live table while it runs, and at the end who won, by how much, and what failed."""

import csv
import io
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from trainer.config.shell import command
from trainer.errors import ConfigError
from trainer.records.metrics import curve
from trainer.records.outcome import DONE, Outcome
from trainer.runtime.console import duration, say, warn
from trainer.runtime.files import write_text
from trainer.runtime.text import wrap
from trainer.study.axes import Axis, Border, Point, arm_of, on_border
from trainer.study.folder import Study
from trainer.study.manifest import Entry, arms_of
from trainer.study.plan import Plan

STYLES = {"finished": "green", "pruned": "yellow", "failed": "red", "running": "bold", "interrupted": "yellow"}
ORDER = ("running", "failed", "interrupted", "finished", "pruned", "queued")
SHOWN = 12  # values of an arm
TOLD = 5  # comparisons, at the end of a sweep
METRICS = {"validation_accuracy": ".2%", "validation_loss": ".4f"}


class LiveTable:
    """Use as a context. On a terminal a table that moves; in a file a line for every run that ends."""

    def __init__(self, study: Study, plan: Plan) -> None:
        self.study, self.plan = study, plan
        self.console = Console(highlight=False, soft_wrap=True)
        self.expected: list[Entry] = []
        self.final: dict[str, Outcome] = {}
        self.told: set[Entry] = set()  # that have ended, as far as it was said
        self.clock: tuple[float, int] | None = None  # when the first epoch was seen, and how many there were
        self.before = 0  # epochs that were trained when this began
        self.live = Live(get_renderable=self._table, console=self.console, refresh_per_second=2, transient=True)

    def __enter__(self) -> "LiveTable":
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def _outcome(self, entry: Entry) -> Outcome:
        """Read once it is final: a thousand runs are asked for after each of them."""
        known = self.final.get(entry.id)
        if known is None:
            known = self.study.outcome(entry)
            if known.state in DONE:  # a failed one may be tried again
                self.final[entry.id] = known
        return known

    def expect(self, entries: Sequence[Entry]) -> None:
        """These belong to the study now."""
        fresh = [entry for entry in entries if entry not in self.expected]
        self.before += sum(self._epochs(entry) for entry in fresh)
        self.told |= {entry for entry in fresh if self._outcome(entry).state in DONE}
        self.expected += fresh

    def seen(self, entry: Entry, outcome: Outcome) -> None:
        """A run has ended. Of several that a launcher lets end at once each is counted when it is told."""
        self.told.add(entry)
        if not self.console.is_terminal or outcome.state == "failed":
            line = f"[{len(self.told)}/{self.total}] {_named(entry)}: {_told(outcome)}"
            width = self.console.width if self.console.is_terminal else len(line)
            self.console.print(Text(wrap(line, width), STYLES[outcome.state]))

    @property
    def ended(self) -> int:
        return sum(self._outcome(entry).state in (*DONE, "failed") for entry in self.expected)

    @property
    def total(self) -> int:
        """Of a search the runs that it may come to."""
        if self.plan.runs:
            return len(self.plan.runs)
        each = max(1, len(self.expected) // max(1, len({(entry.stage, entry.trial) for entry in self.expected})))
        return each * sum(self.plan.stage(number)[0] for number in range(1, self.plan.settings.stages + 1))

    def _epochs(self, entry: Entry) -> int:
        outcome = self._outcome(entry)
        return outcome.epochs if outcome.state in DONE else len(curve(self.study.path(entry), "train_loss"))

    def _rate(self, epochs: int) -> float | None:
        """Seconds an epoch, however many runs train at once. Until the first one workers start: that is no rate."""
        if self.clock is None and epochs > self.before:
            self.clock = (time.monotonic(), epochs)
        if self.clock is None or epochs <= self.clock[1]:
            return None
        return (time.monotonic() - self.clock[0]) / (epochs - self.clock[1])

    def _table(self) -> Any:
        expected = list(self.expected)  # this is asked in a thread of its own, while a search adds to them
        outcomes = {entry.id: self._outcome(entry) for entry in expected}
        epochs = {entry.id: self._epochs(entry) for entry in expected}
        wanted = {entry.id: int(entry.config["epochs"]) for entry in expected}
        left = sum(wanted[e.id] - epochs[e.id] for e in expected if outcomes[e.id].state not in (*DONE, "failed"))
        rate = self._rate(sum(epochs.values()))
        running = sum(outcome.state == "running" for outcome in outcomes.values())
        rows = sorted(expected, key=lambda entry: ORDER.index(outcomes[entry.id].state))
        shown = rows[: max(3, self.console.height - 7)]
        table = Table(box=None, padding=(0, 2, 0, 0))
        for title, justify in (
            ("run", "left"),
            ("state", "left"),
            ("epoch", "right"),
            ("best", "right"),
            ("left", "right"),
        ):
            table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
        for entry in shown:
            outcome, done, whole = outcomes[entry.id], epochs[entry.id], wanted[entry.id]
            best = _best(self.study, entry, self.plan)
            remaining = duration((whole - done) * rate * running) if outcome.state == "running" and rate else ""
            cells = (_named(entry), outcome.state, f"{done}/{whole}" if done else "", best, remaining)
            table.add_row(*map(Text, cells), style=STYLES.get(outcome.state, "dim"))
        failed = sum(outcome.state == "failed" for outcome in outcomes.values())
        summary = f"{self.ended} of {self.total} runs ended" + (f", {failed} failed" if failed else "")
        summary += f"; at most {duration(left * rate)} left" if rate and left else ""
        hidden = f"… and {len(rows) - len(shown)} more" if len(rows) > len(shown) else ""
        return Group(table, Text(hidden, "dim"), Text(summary, "bold"))


def closing(plan: Plan, study: Study, left: int = 0) -> int:
    """Writes `table.csv`, prints the table, the winner and every failure. Exit code 1 if a run failed.

    `left`: how many runs `sweep.on_error=stop` did not start.
    """
    _write_csv(study)
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=160)
    arms = _arms(plan, study)
    console.print(_closing_table(plan, arms))
    _warn_of_borders(plan, arms)
    winner = next((arm for arm in arms if arm.mean is not None and arm.stage == plan.settings.stages), None)
    if winner:
        what = ", ".join(f"{key}={value}" if key != "arm" else value for key, value in winner.point.items())
        say(f"Best: {what}" if what else "To train one run of this configuration alone:", "bold")
        say(f"  {plan.command(winner.texts)}")
    if any(study.outcome(entry).state == "finished" for entry in study.entries):
        _tell_verdict(study)
    failed = [entry for entry in study.entries if study.outcome(entry).state == "failed"]
    for entry in failed:
        first = (study.outcome(entry).reason or "").partition(". ")[0]  # the advice is in the log
        say(f"Failed: {_named(entry)}: {first}. Log: {study.path(entry) / 'log.txt'}", "red")
    if left:
        runs = f"{left} runs were" if left > 1 else "1 run was"
        say(
            f"Stopped at the first failure (sweep.on_error=stop): {runs} not started. With sweep.on_error=continue the"
            f" same command{' without retrain=true' if plan.retrain else ''} trains the rest",
            "yellow",
        )
    say(f"Study: {study.folder}")
    say(f"Curves and more: {command('report', study.folder, '--open')}")
    return 1 if failed else 0


def _tell_verdict(study: Study) -> None:
    """What the runs can tell; of many arms those nearest to the best."""
    from trainer.study.results import read, verdict

    found = verdict(read(study.folder))
    lines = replace(found, comparisons=found.comparisons[:TOLD]).lines()
    say("\n" + "\n".join(lines))
    if len(found.comparisons) > TOLD:
        say(f"… and {len(found.comparisons) - TOLD} more in the report")


class Arm:
    """The runs at one point of the axes: what is compared."""

    def __init__(self, plan: Plan, study: Study, entries: Sequence[Entry]) -> None:
        first = entries[0]
        self.point, self.texts, self.stage = arm_of(first.point), arm_of(first.texts), first.stage
        self.outcomes = [study.outcome(entry) for entry in entries]
        values = [outcome.value(plan.settings.metric) for outcome in self.outcomes]
        self.values = [value for value in values if value is not None]
        self.mean = statistics.mean(self.values) if self.values else None
        self.deviation = statistics.stdev(self.values) if len(self.values) > 1 else None
        self.seconds = sum(outcome.seconds for outcome in self.outcomes)

    def cells(self, metric: str) -> list[str]:
        form = METRICS[metric]
        mean = "—" if self.mean is None else format(self.mean, form)
        spread = "" if self.deviation is None else f" ± {format(self.deviation, form)}"
        # One run alone is told where it did not come to its end.
        told = self.outcomes if len(self.outcomes) > 1 or not self.values else []
        each = [_told(outcome, metric) for outcome in told]
        epochs = [str(outcome.best_epoch) for outcome in self.outcomes if outcome.state in DONE]
        return [mean + spread, _some(each), _some(epochs), duration(self.seconds)]


def _arms(plan: Plan, study: Study) -> list[Arm]:
    """Best first, the last stage before the others; points without a finished run at the end."""
    arms = [Arm(plan, study, entries) for entries in arms_of(study.entries)]
    sign = plan.settings.sign
    return sorted(arms, key=lambda arm: (-arm.stage, arm.mean is None, -sign * (arm.mean or 0.0)))


def _closing_table(plan: Plan, arms: Sequence[Arm]) -> Table:
    keys = [axis.key for axis in plan.axes]
    table = Table(box=None, padding=(0, 2, 0, 0))
    stages = ["stage"] if plan.settings.stages > 1 else []
    metric = plan.settings.metric.replace("_", " ")
    repeated = " and ".join(axis.key for axis in plan.replicates)
    for title in (*stages, *keys):
        table.add_column(title, overflow="fold")
    table.add_column(metric + (" ± sd" if plan.replicates else ""), justify="right")
    table.add_column(f"by {repeated}" if repeated else "", overflow="fold")
    for title in ("best epoch", "time"):
        table.add_column(title, justify="right", overflow="fold")
    for arm in arms:
        stage = [str(arm.stage)] if stages else []
        cells = [*stage, *(arm.point.get(key, "") for key in keys), *arm.cells(plan.settings.metric)]
        table.add_row(*map(Text, cells))
    return table


def _warn_of_borders(plan: Plan, arms: Sequence[Arm]) -> None:
    best = next((arm for arm in arms if arm.mean is not None and arm.stage == plan.settings.stages), None)
    for axis in plan.axes if best else ():
        border = on_border(axis, best.texts) if best else None
        if border and best:
            end = "upper" if border.upper else "lower"
            further = _acceptable(plan, border, best.texts)
            advice = f". Try {further.described()}, with sweep.method=random or tpe" if further else ""
            warn(
                f"the best {axis.key}, {border.value:g}, lies at the {end} end of what was tried ({axis.described()}):"
                f" a better one may lie beyond{advice}"
            )


def _acceptable(plan: Plan, border: Border, best: Point) -> Axis | None:
    """The further range, cut back until its new end is a value that the setting accepts."""
    axis, end = border.further, "high" if border.upper else "low"
    inside = getattr(border.spanned, end)
    for _ in range(4):
        try:
            plan.runs_at({**best, axis.key: axis.text(getattr(axis, end))})
            return axis
        except ConfigError:
            middle = (axis.scaled(getattr(axis, end)) + axis.scaled(inside)) / 2
            value = axis.unscaled(middle)
            axis = replace(axis, high=value) if border.upper else replace(axis, low=value)
    return None


def _write_csv(study: Study) -> None:
    """A row a run, with every digit; nothing in it depends on the time or the place."""
    keys = list(dict.fromkeys(key for entry in study.entries for key in entry.point))
    figures = ("state", "epochs", "best_epoch", "validation_loss", "validation_accuracy", "reason")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "stage", "trial", *keys, *figures])
    for entry in study.entries:
        outcome = study.outcome(entry)
        values = [getattr(outcome, name) for name in figures]
        writer.writerow([entry.id, entry.stage, entry.trial, *(entry.point.get(key, "") for key in keys), *values])
    write_text(study.folder / "table.csv", text.getvalue())


def _some(values: Sequence[str]) -> str:
    """Of many the first: table.csv has them all."""
    return ", ".join([*values[:SHOWN], *(["…"] if len(values) > SHOWN else [])])


def _named(entry: Entry) -> str:
    return " ".join(value if key == "arm" else f"{key}={value}" for key, value in entry.point.items()) or entry.slug


def _told(outcome: Outcome, metric: str | None = None) -> str:
    if outcome.state not in DONE:
        return outcome.state
    value = getattr(outcome, metric or "validation_accuracy")
    told = format(value, METRICS[metric or "validation_accuracy"])
    if metric:
        return told if outcome.state == "finished" else f"({told} pruned)"
    pruned = ", pruned" if outcome.state == "pruned" else ""
    return f"{told} in epoch {outcome.best_epoch} of {outcome.epochs}{pruned}, {duration(outcome.seconds)}"


def _best(study: Study, entry: Entry, plan: Plan) -> str:
    metric = plan.settings.metric
    values = curve(study.path(entry), metric).values()
    if not values:
        return ""
    return format(max(values) if plan.settings.sign > 0 else min(values), METRICS[metric])
