"""The environment that W&B's client reads: the account and the server, and nothing that describes a run.

A run is described by its settings. Variables and files that would describe it as well, or that come from a W&B run of
a parent process, are hidden from the client; the variables among them are named once.
"""

import configparser
import contextlib
import netrc
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer.runtime.console import warn
from trainer.runtime.stdio import stderr_dropped

# Who, at which server, through what: read for wandb.mode=online and `report --wandb`, each with its key in the file
# `settings` that `wandb login --host` writes.
ACCOUNT = {
    "WANDB_API_KEY": "api_key",
    "WANDB_APP_URL": "app_url_override",
    "WANDB_BASE_URL": "base_url",
    "WANDB_CREDENTIALS_FILE": "credentials_file",
    "WANDB_HTTPS_PROXY": "https_proxy",
    "WANDB_HTTP_PROXY": "http_proxy",
    "WANDB_IDENTITY_TOKEN_FILE": "identity_token_file",
    "WANDB_INSECURE_DISABLE_SSL": "insecure_disable_ssl",
}
CONFIG_DIR = "WANDB_CONFIG_DIR"  # the folder of that file
MACHINE = ("WANDB_CACHE_DIR", "WANDB_ERROR_REPORTING")  # read in every mode
INHERITED = "WANDB_SERVICE"  # set by W&B itself for the children of a process in which it runs
NO_HOME = Path("~")  # of a user whom the machine does not know, as in some containers
SETTINGS = {
    "WANDB_ENTITY": "wandb.entity",
    "WANDB_JOB_TYPE": "wandb.job_type",
    "WANDB_MODE": "wandb.mode",
    "WANDB_NAME": "wandb.name",
    "WANDB_NOTES": "wandb.notes",
    "WANDB_PROJECT": "wandb.project",
    "WANDB_RUN_GROUP": "wandb.group",
    "WANDB_TAGS": "wandb.tags",
}
_client: dict[str, Mapping[str, str]] = {}  # the account that W&B's client has read


def warn_of_ignored_variables() -> None:
    """Name the variables of W&B that are set and not read, and the settings in their place."""
    ignored = sorted(_variables().keys() - {*ACCOUNT, CONFIG_DIR, *MACHINE, INHERITED})
    if ignored:
        instead = [SETTINGS[name] for name in ignored if name in SETTINGS]
        hint = f": use {', '.join(instead)}" if instead else ""
        warn(f"{', '.join(ignored)}: not read, since W&B gets what the settings of the run say{hint}")


def tear_down() -> None:
    """Stop wandb's service."""
    import wandb

    with contextlib.suppress(Exception):
        wandb.teardown()


def others_open() -> bool:
    """Return whether a run of W&B is open in this process, which `tear_down` would end."""
    from wandb.sdk import wandb_setup

    return wandb_setup.singleton().most_recent_active_run is not None


@contextlib.contextmanager
def client_environment(folder: Path, account: bool) -> Iterator[None]:
    """Show W&B's client only its own variables while the block runs, those of the `account` where it is needed.

    `folder`: one without a file `settings`, for W&B reads such files. Raises ValueError that names the variable or the
    file if the account cannot be read, or if the client is in use with another one.
    """
    before = _variables()
    own = {
        "WANDB_CONFIG_DIR": str(folder),
        "WANDB_DIR": str(folder),
        "WANDB_SAGEMAKER_DISABLE": "true",  # a job there would rename the run
    }
    used = _account(before) if account else {}
    if _client.get("account", used) != used:  # the client keeps what it has read for the life of the process
        if others_open():
            raise ValueError("runs that are recorded offline are open in this process")
        tear_down()
    _client["account"] = used
    _replace_variables(own | {name: before[name] for name in MACHINE if before.get(name)} | used)
    try:
        with stderr_dropped():  # its service writes its log there if it has no cache
            yield
    finally:
        _replace_variables(before)


@contextlib.contextmanager
def staged_in(folder: Path) -> Iterator[None]:
    """Let tables and artifacts wait for their upload in this folder instead of the user's home folder."""
    values = {"WANDB_DATA_DIR": str(folder)}
    if _home() == NO_HOME:  # W&B looks these up even where it does not use them
        values |= dict.fromkeys(("XDG_DATA_HOME", "XDG_CACHE_HOME"), str(folder))
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def key_source() -> str:
    """Return the variable or the file that the API key comes from, in a client's environment."""
    return "WANDB_API_KEY" if os.environ.get("WANDB_API_KEY") else str(_netrc_path())


def refuse_damaged_netrc() -> None:
    """Raise ValueError if the key would be read from a file of passwords that cannot be read."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return
    path = _netrc_path()
    try:
        netrc.netrc(path)
    except FileNotFoundError:
        return
    except netrc.NetrcParseError as error:
        raise ValueError(f"{path} cannot be read: line {error.lineno} is wrong") from None  # it may hold a password
    except (OSError, ValueError) as error:  # no right to read it, or not a text
        raise ValueError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}") from None


def _netrc_path() -> Path:
    return Path(os.environ.get("NETRC") or _home() / ".netrc")


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        return NO_HOME


def _account(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the account, completed from W&B's settings files. Raises ValueError for a bad value."""
    from wandb import Settings

    found = {name: (variables[name], name) for name in ACCOUNT if variables.get(name)}
    home = Path(variables.get(CONFIG_DIR) or _home() / ".config" / "wandb")
    for path in (Path("wandb", "settings"), home / "settings"):  # the working folder's own file comes first
        values = _settings_in(path)
        for name, key in ACCOUNT.items():
            if values.get(key) and name not in found:
                found[name] = (values[key], f"{key} in {path}")
    for name, (value, source) in found.items():
        try:
            Settings().update_from_env_vars({name: value})
        except Exception as error:  # pydantic's ValidationError, or one of W&B's
            details: Any = getattr(error, "errors", list)()
            message = details[0]["msg"] if details else str(error)
            # The value may hold a password.
            raise ValueError(f"{source}: {message.replace(value, 'it').removeprefix('Value error, ')}") from None
    return {name: value for name, (value, _) in found.items()}


def _settings_in(path: Path) -> Mapping[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, configparser.Error) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]  # the rest quotes the lines
        raise ValueError(f"{path} cannot be read: {reason}") from None
    return dict(parser["default"]) if parser.has_section("default") else {}


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("WANDB_")}


def _replace_variables(values: Mapping[str, str]) -> None:
    for name in _variables():
        del os.environ[name]
    os.environ.update(values)
