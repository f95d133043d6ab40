"""What the commands beside `python -m trainer` share: how arguments are read, a mistake is told, a run is found."""

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from trainer.errors import ConfigError, RunError, complain, within_memory
from trainer.files import expanded
from trainer.layout import BEST
from trainer.process import program, tune
from trainer.signals import heed, ignore
from trainer.strangers import refuse_earlier_version
from trainer.streams import delivered, endure


class Parser(argparse.ArgumentParser):
    """Takes `seeds=5` for `--seeds 5`, as the settings of a run are typed. Raises ConfigError for a mistake."""

    def __init__(self, module: str, description: str, epilog: str) -> None:
        form = argparse.RawDescriptionHelpFormatter
        super().__init__(f"python -m {module}", None, description, epilog, formatter_class=form, allow_abbrev=False)

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        known = [name.removeprefix("--") for name in self._option_string_actions]
        typed = [f"--{text}" if "=" in text and text.partition("=")[0] in known else text for text in arguments]
        asked, left = self.parse_known_intermixed_args(typed)
        wrong = next((text.partition("=")[0] for text in left if text.startswith("-")), left[0] if left else None)
        if wrong:
            near = difflib.get_close_matches(wrong, list(self._option_string_actions), n=1)
            self.error(f"{wrong}: there is no such option." + (f" Did you mean {near[0]}?" if near else ""))
        return asked

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message.rstrip('.')}{'' if message.endswith('?') else '.'} See {self.prog} --help")


def start(command: Callable[[Sequence[str]], int]) -> None:
    """Runs the command with the arguments typed, and exits as `python -m trainer` does: 0, 1, 2, 75 or 130."""
    program(lambda: _run(command))


def _run(command: Callable[[Sequence[str]], int]) -> None:
    tune()
    endure()
    heed()
    try:
        try:
            with within_memory():
                code = command(sys.argv[1:])
            code = code or delivered()
        except (ConfigError, RunError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            complain(str(error))
            code = 2 if isinstance(error, ConfigError) else 1
        sys.exit(code)
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt as error:
        ignore()
        sys.exit(getattr(error, "exit_code", 130))


def count(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number of at least 1")
    return int(text)


def device(text: str) -> str:
    """A device's name, for argparse; whether this machine has it is asked when torch is there."""
    if text not in ("auto", "cpu", "mps", "cuda") and not (text.startswith("cuda:") and text[5:].isdecimal()):
        raise argparse.ArgumentTypeError(f"{text}: must be auto, cpu, mps, cuda or cuda:N")
    return text


def best_of(run: str) -> Path:
    """The checkpoint of a run's folder, or the file itself. Raises ConfigError where there is none."""
    path = expanded(run)
    if path.is_dir():
        path = path / BEST
        refuse_earlier_version(path)
        if not path.is_file():
            raise ConfigError(f"{run}: is not the folder of a run that has been validated, {path} does not exist")
    if not path.is_file():
        raise ConfigError(f"{run}: there is no such run or checkpoint")
    return path
