"""Errors that are reported to a person in one line, without a traceback. Imports no torch."""

LONGEST = 2000  # letters of a message


def printable(text: str, keep: str = "") -> str:
    """The text with "?" for whatever could command a terminal or fake a line; `keep`: what may stay nevertheless."""
    return "".join(letter if letter.isprintable() or letter in keep else "?" for letter in text)


class OneLineError(Exception):
    """An error that is reported in one line, without a traceback."""

    def __str__(self) -> str:
        """One line, whatever stands in the file, folder or class name that is quoted in it, and not a page of it."""
        text = printable(super().__str__())
        return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"


class ConfigError(OneLineError, ValueError):
    """The command line or a YAML file is wrong; nothing has been read, trained or written. Exit code 2."""


class RunError(OneLineError, RuntimeError):
    """The run was asked for correctly and failed: data missing or altered, loss not finite. Exit code 1."""


class NonFiniteError(RunError):
    """A loss or a weight is NaN or infinite."""


class Interrupted(KeyboardInterrupt):
    """A request to stop that was noticed at a safe point. Exit code 130, as for Ctrl-C."""

    exit_code = 130

    def __init__(self, *arguments: str, reported: bool = False) -> None:
        """`reported`: the person has been told of it, with what is saved and how to continue."""
        super().__init__(*arguments)
        self.reported = reported


class Preempted(Interrupted):
    """The machine is needed for something else: SIGTERM or SIGUSR1, whose name is the message.

    Exit code 75: EX_TEMPFAIL of sysexits.h, "try again later", which schedulers can be told to requeue on.
    """

    exit_code = 75


def as_reported(interrupt: KeyboardInterrupt) -> Interrupted:
    """Return the same interrupt, marked as one that the person has been told of."""
    kind = type(interrupt) if isinstance(interrupt, Interrupted) else Interrupted
    return kind(*interrupt.args, reported=True)
