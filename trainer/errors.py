"""Exceptions that are reported in one line, without a traceback. Imports no torch."""

from pathlib import Path

MAX_MESSAGE = 2000  # letters of a message


def printable(text: str, keep: str = "") -> str:
    """Return the text with "?" for letters that could control a terminal or fake a line, except those in `keep`."""
    return "".join(letter if letter.isprintable() or letter in keep else "?" for letter in text)


class OneLineError(Exception):
    """An error that is reported in one line, without a traceback."""

    def __str__(self) -> str:
        """Return one line of limited length, whatever the names of files and classes quoted in it contain."""
        text = printable(super().__str__())
        return text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE // 2]} … {text[-MAX_MESSAGE // 2 :]}"


class ConfigError(OneLineError, ValueError):
    """An error in the command line or a YAML file, raised before anything is trained or written. Exit code 2."""


class RunError(OneLineError, RuntimeError):
    """A failure of a run that was configured correctly: data missing or altered, loss not finite. Exit code 1."""


def reason_of(error: BaseException) -> str:
    """Return the error in words; the operating system's without its number: "FILE: No such file or directory"."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


class TechniqueError(RunError):
    """An error in an own technique while it is used: file and line, the technique, type and message of the error."""


class NonFiniteError(RunError):
    """A loss or a weight that is NaN or infinite."""


class Interrupted(KeyboardInterrupt):
    """A stop that was requested by a signal and takes effect after a step. Exit code 130, as for Ctrl-C."""

    exit_code = 130

    def __init__(self, *arguments: str, reported: bool = False, folder: Path | None = None) -> None:
        """`reported`: a message with what is saved and how to continue has been printed; `folder`: its place."""
        super().__init__(*arguments)
        self.reported, self.folder = reported, folder


class Preempted(Interrupted):
    """A stop requested by a cluster through SIGTERM or SIGUSR1, whose name is the message.

    Exit code 75: EX_TEMPFAIL of sysexits.h, "try again later", on which schedulers can requeue a job.
    """

    exit_code = 75


def as_reported(interrupt: KeyboardInterrupt) -> Interrupted:
    """Return the same interrupt, marked as reported."""
    kind = type(interrupt) if isinstance(interrupt, Interrupted) else Interrupted
    return kind(*interrupt.args, reported=True, folder=getattr(interrupt, "folder", None))


def tell_folder(interrupt: BaseException, folder: Path) -> None:
    """Note where the state is saved, before it is reported: a second interrupt may come meanwhile."""
    interrupt.folder = folder  # type: ignore[attr-defined]
