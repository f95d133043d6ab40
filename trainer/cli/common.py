"""The common parts of all commands: the parser of arguments, the reporting of errors, the exit code."""

import argparse
import difflib
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from trainer.cli.techniques import HELP, STRICT
from trainer.config.own import FLAG
from trainer.errors import ConfigError, RunError, reason_of
from trainer.runtime.memory import within_memory
from trainer.runtime.process import configure_process
from trainer.runtime.signals import ignore_signals, install_handlers
from trainer.runtime.stdio import protect_streams
from trainer.runtime.text import complain, undecoded
from trainer.storage.places import EMPTY

# Commands that run the techniques of a recorded run, beside `train`.
RUNNING = ("find-lr", "doctor", "study", "finalize", "evaluate", "predict", "reproduce")


class Parser(argparse.ArgumentParser):
    """A parser that accepts `seeds=5` as well as `--seeds 5`. Raises ConfigError for a mistake."""

    def __init__(self, command: str, description: str, epilog: str) -> None:
        form = argparse.RawDescriptionHelpFormatter
        name = command if command.startswith("python ") else f"python -m trainer {command}"
        super().__init__(name, None, description, epilog, formatter_class=form, allow_abbrev=False)
        if command in RUNNING:  # shown here; `main` has taken them before the command reads its arguments
            self.add_argument(FLAG, metavar="PATH", help=HELP[FLAG])
            self.add_argument(STRICT, action="store_true", help=HELP[STRICT])

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Return the parsed arguments."""
        names = [name.removeprefix("--") for name in self._option_string_actions]
        # A setting such as lr=0.1 of find-lr has no option of its name and stays as it is.
        typed = [f"--{text}" if "=" in text and text.partition("=")[0] in names else text for text in arguments]
        parsed, left = self.parse_known_intermixed_args(typed)
        if left and not any(text.startswith("-") or ("=" in text and not Path(text).exists()) for text in left):
            (one,) = (action for action in self._get_positional_actions() if action.nargs in (None, "?"))
            named = [str(getattr(parsed, one.dest)), *left]
            self.error(f"one {one.metavar} is expected, {len(named)} are named: {', '.join(named)}")
        if getattr(parsed, "techniques", None):  # as techniques=PATH, like another option
            self.error(f"techniques={parsed.techniques}: must be typed as {FLAG}={parsed.techniques}")
        wrong = next((text.partition("=")[0] for text in left if text.startswith("-")), left[0] if left else None)
        if wrong:
            near = difflib.get_close_matches(wrong, list(self._option_string_actions), n=1)
            self.error(f"{wrong}: there is no such option." + (f" Did you mean {near[0]}?" if near else ""))
        return parsed

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError with one line, in place of argparse's usage text and exit."""
        _, required, names = message.partition("the following arguments are required: ")
        if required:
            message = f"{names.partition(',')[0]}: is missing"
        raise ConfigError(f"{message.rstrip('.')}{'' if message.endswith('?') else '.'} See {self.prog} --help")


def exit_code_of(command: Callable[[], int]) -> int:
    """Run a command and return the exit code of the process: 0, 1, 2, 75 or 130. Report an error in one line."""
    # Before the command imports anything: a signal may arrive, and an error be printed, from its first line on.
    configure_process()
    protect_streams()
    install_handlers()
    try:
        try:
            with within_memory():
                return command()
        except (ConfigError, RunError, OSError) as error:
            if isinstance(error, BrokenPipeError):  # an OSError, but no failure of the command
                raise
            complain(reason_of(error))
            return 2 if isinstance(error, ConfigError) else 1
        except ModuleNotFoundError as error:
            complain(_missing(error))
            return 1
        except UnicodeEncodeError as error:
            if not (reason := undecoded(error.object)):
                raise
            complain(reason)
            return 1
    except BrokenPipeError:  # the reader of a pipe, such as head, has closed it
        # Python flushes stdout once more at exit, which would raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt as error:
        ignore_signals()  # a second Ctrl-C would interrupt the message
        if not getattr(error, "reported", False):
            by = f" by {error}" if str(error) else ""
            print(f"trainer: stopped{by}. No training was running", file=sys.stderr)
        return getattr(error, "exit_code", 130)


def _missing(error: ModuleNotFoundError) -> str:
    """Return the line for a library that this Python does not have, with the command that helps. Raises `error`.

    It is raised again if the module is one of this program, whose name is misspelt in its code.
    """
    name = (error.name or "").partition(".")[0]
    if name in ("", "trainer"):
        raise error
    root = Path(__file__).resolve().parent.parent.parent
    own, is_checkout = root / ".venv", (root / "pyproject.toml").is_file()
    if (own / "bin" / "python").is_file() and Path(sys.prefix).resolve() != own.resolve():
        advice = shlex.join([os.path.relpath(own / "bin" / "python"), "-m", "trainer", *sys.argv[1:]])
    elif is_checkout and sys.prefix == sys.base_prefix:  # not in a virtual environment
        made, here = (shlex.quote(os.path.relpath(path)) for path in (own, root))
        advice = f"python3 -m venv {made} && {made}/bin/pip install -e {here}"
    else:
        wanted = ["-e", os.path.relpath(root)] if is_checkout else ["ablation-trainer"]
        advice = shlex.join([sys.executable, "-m", "pip", "install", *wanted])
    *_, last = traceback.extract_tb(error.__traceback__)
    place = f"{os.path.relpath(last.filename, root)}, line {last.lineno}"
    return f"{sys.executable} has no module {name} ({place}). Try: {advice}"


def confirmed(question: str, yes: bool) -> bool:
    """Return whether the person at the terminal says yes, or `yes`. Raises ConfigError where nobody can be asked."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError(f"{question} Nobody can be asked here: add --yes")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def count(text: str) -> int:
    """Parse a whole number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number of at least 1")
    return int(text)


def device(text: str) -> str:
    """Parse the name of a device, for argparse; its presence on this machine is checked once torch is loaded."""
    if text not in ("auto", "cpu", "mps", "cuda") and not (text.startswith("cuda:") and text[5:].isdecimal()):
        raise argparse.ArgumentTypeError(f"{text}: must be auto, cpu, mps, cuda or cuda:N")
    return text


def not_empty(text: str) -> str:
    """Parse the name of a folder, for argparse. An empty one, as of a variable that is not set, is no folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError(EMPTY)
    return text
