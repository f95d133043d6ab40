"""The report and record of a run that is interrupted by Ctrl-C or by a cluster's warning."""

import contextlib
from collections.abc import Iterator

from trainer.config.shell import resume_command
from trainer.errors import Preempted, as_reported, tell_folder
from trainer.records.outcome import DONE, outcome_or_damage, write_result
from trainer.records.run_folder import RunFolder
from trainer.runtime.console import say
from trainer.runtime.signals import defer_signals
from trainer.training.trainer import ClassificationTrainer


@contextlib.contextmanager
def report_interrupt(trainer: ClassificationTrainer, folder: RunFolder) -> Iterator[None]:
    """Record an interrupt at any moment from the first file of the run to its last, and print how to continue."""
    try:
        yield
    except KeyboardInterrupt as error:
        if getattr(error, "reported", False):  # in the search for the cause of a failure, which is the outcome
            raise
        with defer_signals():  # a warning that is sent twice must not keep the outcome from being written
            tell_folder(error, folder.path)
            if (folder.path / "config.yaml").is_file():  # without it there is nothing yet to continue
                _tell(trainer, folder, f" by {error}" if isinstance(error, Preempted) else "")
        raise as_reported(error) from None


def _tell(trainer: ClassificationTrainer, folder: RunFolder, by: str) -> None:
    over = trainer.finished or trainer.epoch >= folder.last_epoch
    complete = over and outcome_or_damage(folder.path).state in DONE  # interrupted while W&B finished
    if not complete:
        write_result(folder.path, "interrupted", f"stopped{by or ' by the user'}")
    hint = f". To continue: {resume_command(folder.path)}" if folder.can_resume and not complete else ""
    say(f"Stopped{by}. Saved: {folder.progress()}{hint}", "yellow")
