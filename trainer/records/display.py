"""The terminal's view of a run: a line for every epoch above a progress bar, and the messages around it."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from trainer.config.run_config import RunConfig
from trainer.config.shell import resume_command
from trainer.data.images import Images
from trainer.records.metrics import CROSS_ENTROPY, in_words, shown_figure
from trainer.records.run_folder import RunFolder
from trainer.runtime.console import Item, closing_table, current_files, duration, on_screen, out, say, warn
from trainer.runtime.notebook import Bar
from trainer.runtime.text import counted
from trainer.techniques.doubts import doubtful_settings
from trainer.training.epoch import EpochReport
from trainer.training.network import ignored_slots
from trainer.training.trainer import ClassificationTrainer

# Title, short title, and the least width of each column.
COLUMNS = (
    ("epoch", "epoch", 7),
    ("train loss", "train loss", 8),
    ("train accuracy", "train acc.", 8),
    ("validation loss", "val. loss", 8),
    ("validation accuracy", "val. acc.", 8),
    ("lr", "lr", 8),
    ("images/s", "images/s", 8),
    ("seconds", "seconds", 7),
)
WIDE, NARROW = 110, 92  # columns of a terminal: one that is not wide gets the short titles, a narrow one five columns
REFRESH_SECONDS = 0.1  # of the progress bar, which would cost more than a step if it moved with each


class EpochDisplay:
    """The table of epochs and its progress bar. Use as a context manager; call `line` after each epoch.

    `further`: the names of figures that stand behind the others where the line has room for all of them.
    """

    def __init__(self, epochs: int, further: Sequence[str] = ()) -> None:
        self.epochs, self.further = epochs, further
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
        )
        self.progress = Progress(*columns, console=out, transient=True, disable=not on_screen())
        # Invisible until the first batch, when its clock is reset: the time for reading data is not training time.
        self.task, self.shown = self.progress.add_task("", visible=False), False
        self.bar = Bar(on=current_files()[0] is None)
        self.warned = set[str]()  # figures that were not finite

    def __enter__(self) -> "EpochDisplay":
        say(self._row(None), "bold")
        self.progress.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.progress.stop()
        self.bar.close()

    def watch(self, batches: Iterable[Item], epoch: int, steps: int, done: int) -> Iterator[Item]:
        """Yield the batches of an epoch (from 1) that has `steps` steps, `done` of them before; move the bar."""
        before, updated = (epoch - 1) * steps + done, time.monotonic()
        if not self.shown:  # the remaining time is estimated from here, also in a resumed run
            self.progress.reset(self.task, total=self.epochs * steps, completed=before, visible=True)
            self.shown = True
        self.progress.update(self.task, description=f"epoch {epoch}/{self.epochs}", completed=before)
        for step, batch in enumerate(batches, 1):
            yield batch
            self.bar.show(f"epoch {epoch}/{self.epochs}", before + step, self.epochs * steps)
            if time.monotonic() - updated > REFRESH_SECONDS:
                updated = time.monotonic()
                self.progress.update(self.task, completed=before + step)

    def line(self, report: EpochReport) -> None:
        """Print the line of an epoch, with a mark if it is the best so far."""
        loss, accuracy = report.validation_loss, report.validation_accuracy
        values = [
            f"{report.epoch}/{self.epochs}",
            f"{report.train_loss:.4f}",
            f"{report.train_accuracy:.2%}",
            "—" if loss is None else f"{loss:.4f}",
            "—" if accuracy is None else f"{accuracy:.2%}",
            f"{report.lr:.2e}",
            f"{report.images_per_second:,.0f}",
            f"{report.epoch_seconds:.2f}",
        ]
        found = [report.further.get(name) for name in self.further]
        values += [
            "—" if value is None else shown_figure(name, value) for name, value in zip(self.further, found, strict=True)
        ]
        mark, style = (
            ("  best", "green") if report.improved and math.isfinite(report.validation_loss or 0.0) else ("", "")
        )
        self.progress.console.print(Text(self._row(values) + mark, style))
        # Loss and cross-entropy are told as the reason of a run that fails.
        for name, figure in report.further.items():
            if not name.endswith(CROSS_ENTROPY) and not math.isfinite(figure) and name not in self.warned:
                self.warned.add(name)
                warn(f"metric {name.removeprefix('validation_')} was {figure} in epoch {report.epoch}")

    def _row(self, values: list[str] | None) -> str:
        """Return the line of the values, or that of the titles."""
        wide = not out.file.isatty() or out.width >= WIDE
        titles = [title if wide else short for title, short, _ in COLUMNS]
        titles += [name.removeprefix("validation_").replace("_", " ") for name in self.further]
        leasts = [*(least for _, _, least in COLUMNS), *[8] * len(self.further)]
        cells = [
            f"{value:>{max(len(title), least)}}"
            for value, title, least in zip(values or titles, titles, leasts, strict=True)
        ]
        usual, whole = "  ".join(cells[: len(COLUMNS)]), "  ".join(cells)
        if not out.file.isatty() or out.width >= len(whole) + len("  best"):
            return whole
        return usual if wide or out.width >= NARROW else " ".join(cells[:5])


def announce(config: RunConfig, device: torch.device, chosen: bool) -> None:
    """Print network, data set, optimizer and device.

    `chosen`: the user has just chosen the settings of this run, and is warned of doubtful ones.
    """
    threads = f" ({counted(torch.get_num_threads(), 'thread')})" if device.type == "cpu" else ""
    say(f"{config.model.name} on {config.dataset.name} with {config.optimizer.name}, on {device}{threads}", "bold")
    for sentence in doubtful_settings(config) if chosen else ():
        warn(sentence)


def _warn_of_ignored(config: RunConfig, images: Images) -> None:
    """Warn of settings that the model has no place for, where they are not those of a plain network."""
    plain = {"activation": "relu", "normalization": "none", "dropout": 0.0}
    chosen = {"activation": config.activation.name, "normalization": config.normalization.name}
    for name in ignored_slots(config, images):
        value = chosen.get(name, config.dropout)
        if value != plain[name]:
            warn(f"{name}={value} does nothing: model={config.model.name} has no place for it")


def introduce(config: RunConfig, trainer: ClassificationTrainer, folder: RunFolder) -> None:
    """Print the numbers of images, parameters and steps, the folder, and the step a resumed run continues from."""
    images, validated = trainer.train.images, 0 if trainer.validation is None else len(trainer.validation.labels)
    say(
        f"{len(images)} training{_changes(config)} and {counted(validated, 'validation image')}"
        f" {'×'.join(map(str, images.shape))}, {len(images.classes)} classes; {trainer.parameters} parameters;"
        f" {counted(len(trainer.train), 'step')} per epoch of up to {counted(config.batch_size, 'image')}"
    )
    within = f", step {trainer.progress.step} of the next" if trainer.progress else ""
    start = f", continuing after epoch {trainer.epoch}{within}" if trainer.epoch or within else ""
    say(f"Folder: {folder.path}{start}")
    _warn_of_ignored(config, images)


def _changes(config: RunConfig) -> str:
    """Return what was done to the training images, as in " (20 % wrong labels)"; "" if they are as they were."""
    shared = config.dataset.shared
    told = [f"long-tailed, {shared['imbalance']:g} to 1"] if shared["imbalance"] else []
    told += [f"{100 * shared['label_noise']:g} % wrong labels"] if shared["label_noise"] else []
    return f" ({'; '.join(told)})" if told else ""


def report_complete(trainer: ClassificationTrainer, folder: RunFolder) -> None:
    """Print that nothing is left to train, and the command that trains further."""
    hint = f". To train further: {longer_command(trainer, folder)}" if folder.can_resume else ""
    done = f"{trainer.epoch} of {counted(folder.last_epoch, 'epoch')}"
    if trainer.epoch > folder.last_epoch:
        done = f"it has {counted(trainer.epoch, 'epoch')} already"
    say(f"{folder.path} is complete: {done}{hint}")


def warn_of_skipped(report: EpochReport, steps: int) -> None:
    """Warn if steps of an epoch of `steps` steps were skipped under `on_nonfinite`."""
    if report.skipped_steps:
        count = f"{report.skipped_steps} of {counted(steps, 'step')} of epoch {report.epoch}"
        warn(f"{count} were skipped: loss or gradient not finite (on_nonfinite)")


def conclude(
    trainer: ClassificationTrainer,
    folder: RunFolder,
    seconds: float,
    train_eval_accuracy: float | None,
    further: Mapping[str, float | None],
) -> None:
    """Print the closing table of a run that trained for `seconds`; `further`: figures of its best epoch."""
    best = trainer.early_stopping
    if best.exhausted and trainer.epoch < trainer.epochs:
        say(f"Stopped early: {counted(best.waited, 'validation')} without progress.")
    validated = [
        ("Best epoch", f"{best.best_epoch} of {trainer.epoch}"),
        ("Validation accuracy", f"{best.best_accuracy:.2%}"),
        ("Validation loss", f"{best.best_loss:.4f}"),
        *((in_words(name), "—" if value is None else shown_figure(name, value)) for name, value in further.items()),
    ]
    hint = [("To train further", longer_command(trainer, folder))] if folder.can_resume else []
    results = [] if trainer.validation is None else validated
    if train_eval_accuracy is not None:
        results += [("Training accuracy", f"{train_eval_accuracy:.2%} in evaluation mode")]
    closing_table([*results, ("Time", duration(seconds)), ("Folder", str(folder.path)), *hint])


def longer_command(trainer: ClassificationTrainer, folder: RunFolder) -> str:
    """Return the command that trains a complete run further: with twice the epochs, or without early stopping."""
    epochs = [f"epochs={2 * trainer.epoch}"] if trainer.epoch >= trainer.epochs else []
    return resume_command(folder.path, *["early_stop_patience=null"] * trainer.early_stopping.exhausted, *epochs)
