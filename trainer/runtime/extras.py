"""Libraries that are installed on request, as an extra of this package. Imports no torch."""

import importlib.util

from trainer.errors import ConfigError


def require(what: str, extra: str, *libraries: str) -> None:
    """Raise ConfigError, which begins with `what` asks for them, if one of the libraries of an extra is missing."""
    # `find_spec` does not import: some libraries take seconds to load, and a wrong command is reported at once.
    absent = [name for name in libraries if importlib.util.find_spec(name) is None]
    if absent:
        raise ConfigError(
            f"{what} needs {', '.join(absent)}: pip install 'ablation-trainer[{extra}]'. From a checkout:"
            f" pip install -e '.[{extra}]'"
        )
