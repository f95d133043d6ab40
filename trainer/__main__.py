"""`python -m trainer …`: the arguments, the runs they ask for, the exit code."""

import os
import sys
from collections.abc import Callable
from typing import Any

from trainer.process import loading, program, tune
from trainer.signals import WARNINGS, heed, ignore, noted
from trainer.streams import delivered, endure


def main() -> None:
    """Exit code 0: done. 1: a run failed. 2: the command or configuration is wrong. 75: SIGTERM, USR1. 130: Ctrl-C."""
    arguments = sys.argv[1:]
    endure()
    try:
        if not {"-h", "--help", "--version"}.isdisjoint(arguments):
            from trainer.help import show

            show(arguments)
            sys.exit(delivered())
        heed()
        # Imported late: a mistake is told, and a name completed, without waiting for torch.
        from trainer.commandline import interpret
        from trainer.config import RunConfig
        from trainer.errors import ConfigError, RunError, complain

        try:
            asked = interpret(arguments)
        except ConfigError as error:
            complain(str(error))
            sys.exit(2)
        if asked is None:
            sys.exit(delivered())
        train, conduct, fail = _loaded()
        try:
            if isinstance(asked, RunConfig):
                train(asked)
            else:
                sys.exit(conduct(asked))
        except (RunError, ConfigError, OSError) as error:
            fail(error)
            sys.exit(2 if isinstance(error, ConfigError) else 1)
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt as error:
        ignore()
        sys.exit(_leave(error))


def _loaded() -> tuple[Callable[..., Any], Callable[..., int], Callable[[Exception], None]]:
    """What trains a run, what conducts a study, and what tells of a failure. Raises Evicted if warned meanwhile."""
    tune()
    from trainer.console import fail, waiting

    # A warning that is raised in the midst of an import may get lost.
    with loading(), waiting("Loading torch"), noted(WARNINGS) as warned:
        from trainer.run import train
        from trainer.study.conduct import conduct
    if warned:
        raise warned.error()
    return train, conduct, fail


def _leave(error: KeyboardInterrupt) -> int:
    """The exit code of an interrupt; a run or a study under way has said itself what is saved."""
    if not vars(error).get("told"):
        by = f" by {error}" if str(error) else ""
        print(f"trainer: stopped{by} while nothing was being trained: nothing is lost", file=sys.stderr)
    return getattr(error, "exit_code", 130)


def console_script() -> None:
    """`trainer …`."""
    program(main)


if __name__ == "__main__":
    program(main)
