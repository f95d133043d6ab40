"""The start of a W&B run: the settings, the check of the server, and offline recording where it cannot be reached."""

import logging
import os
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

from trainer.config.run_config import WandbConfig
from trainer.config.shell import sync_command
from trainer.records.wandb_environment import (
    client_environment,
    key_source,
    others_open,
    refuse_damaged_netrc,
    tear_down,
    warn_of_ignored_variables,
)
from trainer.runtime.console import warn
from trainer.runtime.text import undecoded

CONNECT_SECONDS = 2  # for a server to accept a connection
FINISH_SECONDS = 9  # for the rest of the upload at the end of a run
# These keep an absent server from delaying a run by minutes.
TIMEOUTS: dict[str, Any] = dict(init_timeout=5, finish_timeout=FINISH_SECONDS, finish_timeout_raises=True)
# By default wandb records command line, host, e-mail, address of the git remote and packages. The parts of these that
# make a run reproducible are in environment.json.
PRIVACY: dict[str, Any] = dict(
    host="",
    symlink=False,
    x_disable_machine_info=True,
    x_disable_meta=True,
    x_save_requirements=False,
    disable_git=True,
    disable_code=True,
    save_code=False,
)


def begin(config: WandbConfig, tree: dict[str, Any], folder: Path, run_id: str) -> Any:
    """Start and return the W&B run, offline with a warning if it cannot be recorded online."""
    # On a full disk wandb would write to another folder, and its log would print tracebacks.
    files = folder.resolve() / "wandb"
    if reason := undecoded(str(files)):
        raise OSError(reason)
    files.mkdir(exist_ok=True)
    refuse_full(files)
    warn_of_ignored_variables()
    # wandb sends its own errors to its makers, also for an offline run, and waits for the answer.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    # console="off": the terminal's output is not captured.
    settings = wandb.Settings(silent=True, console="off", **TIMEOUTS, **PRIVACY)
    arguments: dict[str, Any] = dict(
        project=config.project,
        entity=config.entity,
        group=config.group,
        job_type=config.job_type,
        name=config.name or folder.name,
        tags=list(config.tags),
        notes=config.notes,
        config=tree,
        dir=folder.resolve(),  # wandb's service may have been started in another working directory
        id=run_id,
        resume="allow",
        reinit="create_new",  # others may be open in this process (`sweep.concurrent`)
        settings=settings,
    )
    if config.mode == "online":
        try:
            with client_environment(files, account=True):
                reason = why_not_online()
                if reason is None:
                    return _init("online", arguments)
        except Exception as error:  # a variable or a file that cannot be read, an error of the server or the service
            reason = first_line(error)
        if not others_open():
            tear_down()  # its service keeps the run's id, which the offline run needs
        warn(
            f"W&B is recorded offline instead: {reason}."
            f" Upload it later: {sync_command(folder / 'wandb', 'offline-run-*')}"
        )
    with client_environment(files, account=False):
        return _init("offline", arguments)


def _init(mode: Literal["online", "offline"], arguments: dict[str, Any]) -> Any:
    """Start the run. Its folder then holds neither wandb's log of absolute paths nor a link to the user's home."""
    import wandb

    wandb.setup(wandb.Settings(silent=True))  # which sets the level of its logger
    logging.getLogger("wandb").setLevel(logging.CRITICAL + 1)
    run = wandb.init(mode=mode, **arguments)
    Path(run.dir).parent.joinpath("logs", "debug-core.log").unlink(missing_ok=True)
    return run


def why_not_online() -> str | None:
    """Return why W&B cannot be reached, None if it can. wandb itself needs a minute and a half to find out.

    Called within `client_environment`. Raises ValueError that names the variable or the file that cannot be read.
    """
    import wandb

    refuse_damaged_netrc()
    settings = wandb.setup(wandb.Settings(silent=True)).settings
    try:
        if not wandb.login(verify=False, prompt=False):
            return "no API key is configured (wandb login)"
    except wandb.errors.AuthenticationError as error:
        message = first_line(error).rstrip(".")
        return message if "WANDB_" in message else f"{key_source()}: {message}"
    address = urlparse(settings.base_url)
    port = address.port or (443 if address.scheme == "https" else 80)
    # In a thread: the socket's timeout applies to each address of the server, and none to the look-up of its name.
    reason = failure_within(CONNECT_SECONDS, lambda: _connect(address.hostname or "", port))
    # Not address.netloc, which may hold a user name and a password.
    return f"{address.hostname}:{port} cannot be reached ({reason})" if reason else None


def _connect(host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise ConnectionError(error.strerror or str(error)) from None


def default_entity() -> str:
    """Return the account that runs belong to if none is named, as the server knows it."""
    import wandb

    return wandb.Api(timeout=15).default_entity or ""


def failure_within(seconds: float, action: Callable[[], None]) -> str | None:
    """Run an action in a thread; return its error, or that it took longer than `seconds`, None on success.

    A thread, because there is no other bound on how long the libraries wait for a network.
    """
    errors: list[str] = []

    def attempt() -> None:
        try:
            action()
        except Exception as error:
            errors.append(first_line(error))

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        return f"no answer for {seconds:g} seconds"
    return errors[0] if errors else None


def refuse_full(folder: Path) -> None:
    """Raise OSError if nothing can be written: wandb's service drops such data without an error."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"?")
    except OSError as error:
        raise OSError(f"{folder} cannot be written: {error.strerror}") from None


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type."""
    for detail in getattr(error, "errors", list)():  # pydantic's, whose first line is a count
        return f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}"
    return (str(error).splitlines() or [type(error).__name__])[0]
