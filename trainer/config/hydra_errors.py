"""The errors of Hydra, OmegaConf and YAML in one line: the place and the accepted values. Imports no torch."""

import contextlib
import io
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from trainer.config.arguments import several, unreadable
from trainer.config.origin import choice_line, choice_outside_defaults, shown
from trainer.config.schema import CONF, GROUPS, module_file, techniques
from trainer.config.settings import options_of
from trainer.config.suggestions import no_such_option, unknown
from trainer.errors import ConfigError
from trainer.runtime.files import expanded

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
        raise ConfigError(unreadable(str(error.override).lstrip("+"), arguments)) from None
    except yaml.YAMLError as error:
        raise ConfigError(_yaml_mistake(error)) from None
    except (HydraException, OmegaConfBaseException, ConfigError) as error:
        raise ConfigError(_first_line(error, arguments)) from None
    except UnicodeDecodeError as error:
        file = next((str(each) for each in _own_files(arguments) if not _is_text(each)), "a YAML file")
        raise ConfigError(f"{file}: must be a text in UTF-8 ({error.reason} at byte {error.start})") from None
    except Exception as error:  # some values, such as dataset@x=[1], raise a TypeError or others in Hydra
        text = str(error)
        if "defaults must be a list" in text or "in defaults list" in text.lower():
            raise ConfigError(f"{_file_in(text, arguments)}: {_FORM_OF_DEFAULTS}") from None
        kind = type(error).__name__
        line = _first_line(error, arguments)
        raise ConfigError(f"{' '.join(arguments)}: Hydra cannot compose this ({kind}: {line})") from None


_FORM_OF_DEFAULTS = f"defaults must be a list with lines such as: {choice_line('optimizer', 'sgd')}"


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
    if group == "hydra/launcher" and name in LAUNCHERS:
        return f"hydra/launcher={name} is not installed: pip install 'ablation-trainer[{LAUNCHERS[name]}]'"
    first = str(error).partition("\n")[0]
    typed = any(argument.lstrip("+").startswith(f"{group}=") and name in argument for argument in arguments)
    where = "command line" if typed else next(
        (shown(file) for file in _own_files(arguments) if re.search(rf"/{group}: .*{name}", file.read_text("utf-8"))),
        _file_in(first, arguments),
    )  # fmt: skip
    inner = group.rpartition("/")[2]
    if inner != group and inner in GROUPS:  # "- optimizer: sgd" in a file under experiment/ is relative to it
        return f"{where}: defaults must hold the line: {choice_line(inner, name)}"
    if placed := _misplaced(group, name, _own_folder(arguments)):
        return f"{group}={name} ({where}): {placed}"
    if group in GROUPS and name in techniques(group):
        own = f"conf/{group}/{name}.yaml"
        return f"{group}={name} ({where}): {module_file(group)} has the function {name}, {own} is missing"
    options = error.options or options_of(group)
    return no_such_option(group, name, options, where)


def _misplaced(group: str, name: str, folder: Path | None) -> str:
    """Return where a YAML file lies that was meant for this option, and where it must lie; or an empty text."""
    if folder is None:
        return ""
    wanted = folder / group / f"{name}.yaml"
    found = [file for file in (folder / f"{name}.yaml", wanted.with_suffix(".yml")) if file.is_file()]
    if found and folder.name == group:
        return f"{shown(found[0])} is found with --config-dir {folder.parent}, the folder above {group}"
    return f"{shown(found[0])} must be {shown(wanted)}" if found else ""


def _own_folder(arguments: Sequence[str]) -> Path | None:
    """Return the folder of `--config-dir`."""
    for number, argument in enumerate(arguments):
        flag, equals, folder = argument.partition("=")
        if flag in ("--config-dir", "-cd"):
            return expanded(folder if equals else next(iter(arguments[number + 1 :]), "."))
    return None


def _own_files(arguments: Sequence[str]) -> list[Path]:
    """Return the files of `--config-dir` that the arguments choose."""
    folder = _own_folder(arguments)
    chosen = [argument.lstrip("+").partition("=") for argument in arguments]
    files = [folder / group / f"{name}.yaml" for group, _, name in chosen if folder and name and "/" not in name]
    return [file.absolute() for file in files if file.is_file()]


def _is_text(file: Path) -> bool:
    try:
        file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _file_in(text: str, arguments: Sequence[str]) -> str:
    """Return the file that Hydra names in an error as 'experiment/mine'."""
    name = text.partition("'")[2].partition("'")[0]
    folders = [folder for folder in (_own_folder(arguments), CONF) if folder]
    files = [folder.absolute() / f"{name}.yaml" for folder in folders]
    return next((shown(file) for file in files if file.is_file()), f"{name}.yaml")


def _yaml_mistake(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f"a YAML file: {str(error).partition(chr(10))[0]}"
    name = mark.name if Path(mark.name).is_file() else "a YAML file"
    return f"{name}, line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', 'not YAML')}"


def _first_line(error: Exception, arguments: Sequence[str]) -> str:
    text = str(error).strip().splitlines() or [type(error).__name__]
    if text[0].endswith(" raised while composing config:"):  # "In 'experiment/mine': ConfigKeyError raised while …"
        for own in _own_files(arguments):
            if choice := choice_outside_defaults(own):
                return choice
        return ": ".join([_file_in(text[0], arguments), *text[1:2]])
    if found := re.match(r"In '.*?': Could not override '(?:.*/)?(\w+)", text[0]):
        group, file = found[1], _file_in(text[0], arguments)
        if group in GROUPS:
            return f"{file}: defaults must hold the line: {choice_line(group, 'OPTION')}"
        return unknown(group, group, GROUPS, file, "there is no such group")
    if text[0].startswith(("Could not override 'hydra.", "Error merging override ")):
        key = text[0].removeprefix("Error merging override ").replace("Could not override", "").strip(" '.")
        return f"{key.lstrip('+')} (command line): {str(error.__cause__).partition(chr(10))[0]}"
    if text[0].startswith("Could not override '"):
        key = text[0].split("'")[1]
        groups = [*GROUPS, "experiment"]
        return unknown(key, key, groups, "command line", "there is no such group")
    if isinstance(error, InterpolationResolutionError):
        reason = text[0].removeprefix("ConfigError raised while resolving interpolation: ")
        return f"{error.full_key or 'a value'}: {reason}"
    if text[0].startswith("Ambiguous value for argument"):
        return several(text[0].split("'")[1].lstrip("+"), arguments)
    return text[0].replace("++", "")
