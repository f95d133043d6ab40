"""The question of a study: the comment at the top of the experiment that its command names. Imports no torch."""

from collections.abc import Sequence

from trainer.config.help import purpose
from trainer.config.option_files import option_files


def question_of(command: Sequence[str]) -> str:
    """Return what the experiment compares and what to expect; "" for a command without one of `conf/experiment/`.

    The record names the experiment only: its words are those of the installed file.
    """
    names = [word.partition("=")[2] for word in command if word.lstrip("+").partition("=")[0] == "experiment"]
    file = option_files("experiment").get(names[-1]) if names else None
    return purpose(file) if file else ""
