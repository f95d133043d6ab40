"""The mistakes and failures that are told to a person in one line, without a traceback."""


class ConfigError(ValueError):
    """The command line or a YAML file is wrong; nothing has been read, trained or written. Exit code 2."""


class RunError(RuntimeError):
    """The run was asked for correctly and failed: data missing or altered, loss not finite. Exit code 1."""
