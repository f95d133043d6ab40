"""The mistakes and failures that are told to a person in one line, without a traceback."""

LONGEST = 2000  # letters of a message


def printable(text: str, keep: str = "") -> str:
    """The text with "?" for whatever could command a terminal or fake a line; `keep`: what may stay nevertheless."""
    return "".join(letter if letter.isprintable() or letter in keep else "?" for letter in text)


class _Told(Exception):
    def __str__(self) -> str:
        """One line, whatever stands in the file, folder or class name that is quoted in it, and not a page of it."""
        text = printable(super().__str__())
        return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"


class ConfigError(_Told, ValueError):
    """The command line or a YAML file is wrong; nothing has been read, trained or written. Exit code 2."""


class RunError(_Told, RuntimeError):
    """The run was asked for correctly and failed: data missing or altered, loss not finite. Exit code 1."""


class NonFiniteError(RunError):
    """A loss or a weight is NaN or infinite."""


class Evicted(KeyboardInterrupt):
    """The machine asked for it back by a signal; what there is has been saved, and the same command goes on.

    Exit code 75: EX_TEMPFAIL of sysexits.h, "try again later", which schedulers can be told to requeue on.
    """

    exit_code = 75
