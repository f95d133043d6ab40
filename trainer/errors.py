"""The mistakes and failures that are told to a person in one line, without a traceback."""


class ConfigError(ValueError):
    """The command line or a YAML file is wrong; nothing has been read, trained or written. Exit code 2."""


class RunError(RuntimeError):
    """The run was asked for correctly and failed: data missing or altered, loss not finite. Exit code 1."""


class NonFiniteError(RunError):
    """A loss or a weight is NaN or infinite."""


class Evicted(KeyboardInterrupt):
    """The machine asked for it back by a signal; what there is has been saved, and the same command goes on.

    Exit code 75: EX_TEMPFAIL of sysexits.h, "try again later", which schedulers can be told to requeue on.
    """

    exit_code = 75
