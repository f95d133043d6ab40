"""The live table of a study while it runs: the state and progress of each run, and the time that is left."""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from trainer.records.metrics import curve, shown_figure
from trainer.records.outcome import DONE, Outcome
from trainer.runtime.console import current_files, duration, new_console, on_screen, redrawing, show_line
from trainer.runtime.notebook import Bar
from trainer.runtime.text import counted
from trainer.study.folder import Study
from trainer.study.manifest import Entry
from trainer.study.plan import Plan
from trainer.study.tuning import total_runs

STYLES = {"finished": "green", "pruned": "yellow", "failed": "red", "running": "bold", "interrupted": "yellow"}
# A failed run has had its line above the table, so that it takes no place of a better one.
ORDER = ("running", "finished", "pruned", "failed", "interrupted", "queued")


class LiveTable:
    """A context: on a terminal a table that is redrawn, in a file a line for every run that ends."""

    def __init__(self, study: Study, plan: Plan) -> None:
        self.study, self.plan = study, plan
        self.console = new_console(file=current_files()[0])  # a run in this process redirects the common one to its log
        self.bar = Bar(on=current_files()[0] is None)
        self.expected: list[Entry] = []
        self.looks = ""  # of a study that goes on until it is decided
        self.final: dict[str, Outcome] = {}
        self.reported: set[Entry] = set()  # the runs that had ended before, or whose end was printed
        self.clock: tuple[float, int] | None = None  # the time of the first epoch, and the epochs trained until then
        self.before = 0  # epochs that were trained when this began
        self.redrawing = ExitStack()
        self.live = Live(get_renderable=self._table, console=self.console, refresh_per_second=2, transient=True)

    def __enter__(self) -> "LiveTable":
        if on_screen(self.console):
            self.redrawing.enter_context(redrawing(self.console))
            self.live.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.close()
        if on_screen(self.console):
            self.live.stop()
            self.redrawing.close()

    def _outcome(self, entry: Entry) -> Outcome:
        """Return a run's outcome; a final one is read once, as the table of a thousand runs is drawn often."""
        outcome = self.final.get(entry.id)
        if outcome is None:
            outcome = self.study.outcome(entry)
            if outcome.state in DONE:  # a failed run may be tried again
                self.final[entry.id] = outcome
        return outcome

    def expect(self, entries: Sequence[Entry]) -> None:
        """Add runs to the table."""
        fresh = [entry for entry in entries if entry not in self.expected]
        # Epochs of a continued run do not count for the rate.
        self.before += sum(self._epochs(entry) for entry in fresh)
        self.reported |= {entry for entry in fresh if self._outcome(entry).state in DONE}
        self.expected += fresh

    def tell_looks(self, text: str) -> None:
        """Show how far the looks of the study are."""
        self.looks = text

    def run_ended(self, entry: Entry, outcome: Outcome) -> None:
        """Report the end of a run. The count goes by reports: a launcher may let several runs end at once."""
        self.reported.add(entry)
        self.bar.show(f"{len(self.reported)} of {counted(self.total, 'run')} ended", len(self.reported), self.total)
        if not on_screen(self.console) or outcome.state == "failed":
            line = f"[{len(self.reported)}/{self.total}] {entry.label}: {_outcome_text(outcome)}"
            show_line(self.console, line, STYLES[outcome.state])

    @property
    def ended(self) -> int:
        """The number of runs that have ended."""
        return sum(self._outcome(entry).state in (*DONE, "failed") for entry in self.expected)

    @property
    def total(self) -> int:
        """The number of runs of the study; of a search those that it will have, before a look those that it needs."""
        if self.plan.settings.until is not None:  # until the next look
            return len(self.expected)
        return max(total_runs(self.plan), len(self.expected))

    def _epochs(self, entry: Entry) -> int:
        outcome = self._outcome(entry)
        return outcome.epochs if outcome.state in DONE else len(curve(self.study.path(entry), "train_loss"))

    def _rate(self, epochs: int) -> float | None:
        """Return the seconds per epoch of all runs together, not counting the time until the first epoch."""
        if self.clock is None and epochs > self.before:
            self.clock = (time.monotonic(), epochs)
        if self.clock is None or epochs <= self.clock[1]:
            return None
        return (time.monotonic() - self.clock[0]) / (epochs - self.clock[1])

    def _table(self) -> Any:
        expected = list(self.expected)  # a copy: this runs in rich's thread while a search adds runs
        outcomes = {entry.id: self._outcome(entry) for entry in expected}
        epochs = {entry.id: self._epochs(entry) for entry in expected}
        planned = {entry.id: int(entry.config["epochs"]) for entry in expected}
        left = sum(planned[e.id] - epochs[e.id] for e in expected if outcomes[e.id].state not in (*DONE, "failed"))
        # Early stopping may end runs sooner: the time left is an upper bound.
        rate = self._rate(sum(epochs.values()))
        states = [outcome.state for outcome in outcomes.values()]
        rows = self._best_first(expected, outcomes)
        # Seven lines of the screen are left for what surrounds the rows.
        shown = rows[: max(3, self.console.height - 7)]
        table = Table("run", "state", box=None, padding=(0, 2, 0, 0))
        for title in ("epoch", self.plan.settings.metric.replace("_", " "), "left"):
            table.add_column(title, justify="right")
        for column in table.columns:
            column.no_wrap = True
        for entry in shown:
            state, trained, total = outcomes[entry.id].state, epochs[entry.id], planned[entry.id]
            # The rate is that of all running runs together: one alone takes as many times as long.
            remaining = (
                duration((total - trained) * rate * states.count("running")) if state == "running" and rate else ""
            )
            value = self._value(entry, outcomes[entry.id])
            shown_value = "" if value is None else shown_figure(self.plan.settings.metric, value)
            cells = (entry.label, state, f"{trained}/{total}" if trained else "", shown_value, remaining)
            table.add_row(*map(Text, cells), style=STYLES.get(state, "dim"))
        failed = states.count("failed")
        summary = f"{self.ended} of {counted(self.total, 'run')} ended" + (f", {failed} failed" if failed else "")
        summary += f"; at most {duration(left * rate)} left" if rate and left else ""
        summary += f"; {self.looks}" if self.looks else ""
        hidden = f"… and {counted(len(rows) - len(shown), 'more run')}" if len(rows) > len(shown) else ""
        return Group(table, Text(hidden, "dim"), Text(summary, "bold"))

    def _best_first(self, entries: Sequence[Entry], outcomes: Mapping[str, Outcome]) -> list[Entry]:
        """Return the runs by state and, of those that are done, the best first: a short screen shows the first ones."""

        def place(entry: Entry) -> tuple[int, float]:
            outcome = outcomes[entry.id]
            value = self._value(entry, outcome) if outcome.state in DONE else None
            last = value is None or not math.isfinite(value)
            return ORDER.index(outcome.state), math.inf if last else -self.plan.settings.sign * (value or 0.0)

        return sorted(entries, key=place)

    def _value(self, entry: Entry, outcome: Outcome) -> float | None:
        """Return the metric of a run as the final table does; while it trains, in its best epoch so far, or None."""
        metric, rule = self.plan.settings.metric, self.plan.settings.score
        if outcome.state in DONE:
            scored = outcome.value(metric, rule)
            return outcome.figure(metric) if scored is None else scored
        losses = curve(self.study.path(entry), "validation_loss")
        best = min(losses, key=lambda epoch: losses[epoch], default=None)
        return None if best is None else curve(self.study.path(entry), self.plan.settings.metric).get(best)


def _outcome_text(outcome: Outcome) -> str:
    """Return the end of a run in words: "97.30% in epoch 4 of 5, 12 s"."""
    if outcome.state not in DONE:
        return outcome.state
    accuracy = format(outcome.validation_accuracy, ".2%")
    pruned = ", pruned" if outcome.state == "pruned" else ""
    return f"{accuracy} in epoch {outcome.best_epoch} of {outcome.epochs}{pruned}, {duration(outcome.seconds)}"
