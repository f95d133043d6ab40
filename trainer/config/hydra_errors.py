"""The errors of Hydra, OmegaConf and YAML in one line: the place and the accepted values. Imports no torch."""

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from trainer.config.schema import CONF
from trainer.config.shell import command
from trainer.config.suggestions import unknown, unreadable
from trainer.errors import ConfigError

# Launcher → the extra of this package that installs it.
LAUNCHERS = {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm", "ray": "ray"}


@contextlib.contextmanager
def reworded(arguments: Sequence[str]) -> Iterator[None]:
    """Turn every error of Hydra, OmegaConf and YAML in the block into a ConfigError with one line."""
    try:
        yield
    except MissingConfigException as error:
        raise ConfigError(_missing_option(error, arguments)) from None
    except OverrideParseException as error:
        raise ConfigError(unreadable(str(error.override).lstrip("+"))) from None
    except yaml.YAMLError as error:
        raise ConfigError(_yaml_mistake(error)) from None
    except (HydraException, OmegaConfBaseException, ConfigError) as error:
        raise ConfigError(_first_line(error, arguments)) from None
    except Exception as error:  # some values, such as regularization=[1,2], raise a TypeError or others in Hydra
        kind = type(error).__name__
        raise ConfigError(f"{' '.join(arguments)}: Hydra cannot compose this ({kind}: {_first_line(error)})") from None


@contextlib.contextmanager
def usage_errors(arguments: Sequence[str]) -> Iterator[None]:
    """Turn the exit of Hydra's parser in the block, for a missing or wrong value of a flag, into a ConfigError."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            yield
    except SystemExit as leaving:
        if leaving.code:
            reason = printed.getvalue().strip().rpartition("error: ")[2] or f"exit code {leaving.code}"
            raise ConfigError(f"{' '.join(arguments)} (command line): {reason}") from None
    else:
        sys.stderr.write(printed.getvalue())


def _missing_option(error: MissingConfigException, arguments: Sequence[str]) -> str:
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    typed = any(argument.lstrip("+").startswith(f"{group}=") and name in argument for argument in arguments)
    where = "command line" if typed else _first_line(error).partition("'")[2].partition("'")[0]
    if group == "hydra/launcher" and name in LAUNCHERS:
        return f"hydra/launcher={name} is not installed: pip install 'ablation-trainer[{LAUNCHERS[name]}]'"
    options = (
        error.options or [] if group.startswith("hydra/") else [file.stem for file in (CONF / group).glob("*.yaml")]
    )
    return unknown(f"{group}={name}", name, options, where, f"there is no such {group}")


def _yaml_mistake(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f"a YAML file: {_first_line(error)}"
    name = mark.name if Path(mark.name).is_file() else "a YAML file"
    return f"{name}, line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', 'not YAML')}"


def _first_line(error: Exception, arguments: Sequence[str] = ()) -> str:
    text = str(error).strip().splitlines() or [type(error).__name__]
    if text[0].endswith(" raised while composing config:"):  # "In 'experiment/mine': ConfigKeyError raised while …"
        return ".yaml: ".join([text[0].split("'")[1], *text[1:2]])
    if text[0].startswith(("Could not override 'hydra.", "Error merging override ")):
        key = text[0].removeprefix("Error merging override ").replace("Could not override", "").strip(" '.")
        return f"{key.lstrip('+')} (command line): {str(error.__cause__).partition(chr(10))[0]}"
    if text[0].startswith("Could not override '"):
        key = text[0].split("'")[1]
        groups = [folder.name for folder in CONF.iterdir() if folder.is_dir()]
        return unknown(key, key, groups, "command line", "there is no such group")
    if isinstance(error, InterpolationResolutionError):
        reason = text[0].removeprefix("ConfigError raised while resolving interpolation: ")
        return f"{error.full_key or 'a value'}: {reason}"
    if text[0].startswith("Ambiguous value for argument"):
        argument = text[0].split("'")[1].lstrip("+")
        return f"{argument} (command line): several values need -m, as in: {command('-m', *arguments)}"
    return text[0].replace("++", "")
