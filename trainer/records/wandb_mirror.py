"""The record of a run: its own folder first, Weights & Biases as a mirror. The only module that imports wandb."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer.records.samples import Sample
    from trainer.training.epoch import EpochReport

import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from trainer.config.run_config import WandbConfig
from trainer.config.shell import sync_command
from trainer.runtime.console import warn
from trainer.techniques.layer_names import layer_titles

REACH_SECONDS = 2  # for a server to take a connection
PATIENCE_SECONDS = 5  # for W&B to take what it is told
FINISH_SECONDS = 9  # for what is left to be uploaded
BOUNDS: dict[str, Any] = dict(init_timeout=5, finish_timeout=FINISH_SECONDS, finish_timeout_raises=True)
STAGING = "WANDB_DATA_DIR"
PRIVATE: dict[str, Any] = dict(
    x_disable_meta=True,
    x_save_requirements=False,
    disable_git=True,
    disable_code=True,
    save_code=False,
)


class WandbMirror:
    """One W&B run, or under `wandb.mode=disabled` none. What goes wrong there is a warning and changes nothing here."""

    def __init__(self, run: Any) -> None:
        self.run = run
        self.listening = run is not None
        self.folder = Path(run.dir).parent if self.listening else Path()

    def log(self, report: "EpochReport") -> None:
        def tell(run: Any) -> None:
            values = {key: value for key, value in asdict(report).items() if value is not None}
            values |= _layer_stats_values(values.pop("layer_stats")) if report.layer_stats else {}
            run.log(values, step=report.epoch)

        self._tell(tell)

    def summarize(self, values: dict[str, Any]) -> None:
        self._tell(lambda run: run.summary.update(values))

    def log_samples(
        self, shown: "Sequence[Sample]", confusion: Sequence[Sequence[int]], classes: Sequence[str]
    ) -> None:
        """Tables of sample predictions and of the confusion matrix, at the last epoch's step."""

        def tell(run: Any) -> None:
            import wandb

            pictures = [(wandb.Image(_picture(each)), each.true, each.predicted, each.probability) for each in shown]
            counts = [
                (true, predicted, count)
                for true, row in zip(classes, confusion, strict=True)
                for predicted, count in zip(classes, row, strict=True)
            ]
            tables = {
                "samples": wandb.Table(columns=["image", "true", "predicted", "probability"], data=pictures),
                "confusion": wandb.Table(columns=["true", "predicted", "images"], data=counts),
            }
            run.log(tables, step=run.step)

        self._tell(tell)

    def tabulate(self, name: str, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        def tell(run: Any) -> None:
            import wandb

            run.log({name: wandb.Table(columns=list(titles), data=[list(row) for row in rows])})

        self._tell(tell)

    def log_artifact(self, path: Path) -> None:
        """The file as an artifact of the run."""

        def tell(run: Any) -> None:
            import wandb

            artifact = wandb.Artifact(f"{run.id}-{path.stem}", type="model")
            artifact.add_file(str(path), skip_cache=True)  # it would be copied into the person's home
            run.log_artifact(artifact)

        self._tell(tell)

    def finish(self, exit_code: int) -> None:
        """Where not all was uploaded there is a warning, unless there was one before."""
        try:
            self.run.finish(exit_code=exit_code)
            return
        except TimeoutError:
            reason = f"not all was uploaded within {FINISH_SECONDS} seconds"
        except Exception as error:  # its service may have died: the run is recorded all the same
            reason = _first_line(error)
            _tear_down()  # or it would be tried at exit, with a traceback
        if self.listening:
            warn(f"W&B did not finish: {reason}. Upload the run later: {sync_command(self.folder)}")

    def _tell(self, what: Callable[[Any], None]) -> None:
        """Waits for `PATIENCE_SECONDS` at most: a table asks the server, and a dead one is asked for hours."""
        if not self.listening:
            return

        def tell() -> None:
            _refuse_full(self.folder)
            what(self.run)

        reason = _failing(tell, PATIENCE_SECONDS)
        if reason:
            self.listening = False
            warn(
                f"W&B gets no more of this run: {reason}. The run's own folder has everything; to upload what W&B was"
                f" told: {sync_command(self.folder)}"
            )


def _failing(what: Callable[[], None], seconds: float) -> str | None:
    """Why it failed, or was not done in time: in a thread, as libraries wait for a network for as long as they like."""
    failure: list[str] = []

    def attempt() -> None:
        try:
            what()
        except Exception as error:
            failure.append(_first_line(error))

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        return f"no answer for {seconds:g} seconds"
    return failure[0] if failure else None


def _refuse_full(folder: Path) -> None:
    """Raises OSError where nothing can be written: W&B's service loses what it cannot write, and tells nobody."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"?")
    except OSError as error:
        raise OSError(f"{folder} cannot be written: {error.strerror}") from None


def _layer_stats_values(layer_stats: dict[str, Any]) -> dict[str, Any]:
    """Return the layer statistics for W&B: numbers and histograms by layer and quantity, filters as a picture."""
    import numpy as np
    import wandb

    shown: dict[str, Any] = {}
    told = layer_titles({layer: found["kind"] for layer, found in layer_stats["layers"].items()})
    for layer, found in layer_stats["layers"].items():
        for quantity, value in found.items():
            if isinstance(value, dict):
                edges = np.linspace(value["low"], value["high"], len(value["counts"]) + 1)
                value = wandb.Histogram(np_histogram=(value["counts"], edges))
            if value is not None and not isinstance(value, str):
                shown[f"layer_stats/{told[layer]}/{quantity}"] = value
    if layer_stats["filters"]:
        filters = np.array(layer_stats["filters"]["values"], dtype=np.uint8)
        if filters.shape[1] not in (1, 3):
            filters = filters.mean(1, keepdims=True).astype(np.uint8)
        # [F, C, H, W] to [H, F·W, C], eight times as large: the filters in a row, a black line after each.
        large = np.pad(filters.repeat(8, 2).repeat(8, 3), ((0, 0), (0, 0), (0, 0), (0, 2)))
        shown["layer_stats/filters"] = wandb.Image(np.concatenate(list(large), axis=2).transpose(1, 2, 0))
    return shown


@contextmanager
def wandb_mirror(config: WandbConfig, tree: dict[str, Any], folder: Path, run_id: str) -> Iterator[WandbMirror]:
    """The mirror, closed with exit code 1 if the run fails inside."""
    mirror = WandbMirror(None) if config.mode == "disabled" else _start(config, tree, folder, run_id)
    exit_code = 1
    try:
        with _staged_in(folder):
            yield mirror
        exit_code = 0
    finally:
        if mirror.run:
            mirror.finish(exit_code)


def _tear_down() -> None:
    import wandb

    with suppress(Exception):
        wandb.teardown()


@contextmanager
def _staged_in(folder: Path) -> Iterator[None]:
    """Tables and artifacts wait for their upload in the run's own folder, not in the person's home."""
    given = os.environ.get(STAGING)
    os.environ.setdefault(STAGING, str(folder.resolve() / "wandb"))
    try:
        yield
    finally:
        if given is None:
            del os.environ[STAGING]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _picture(sample: "Sample") -> Any:
    """[H, W, C] as W&B takes pictures, or [H, W] of one channel."""
    pixels = sample.pixels.permute(1, 2, 0).numpy()
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels


def _start(config: WandbConfig, tree: dict[str, Any], folder: Path, run_id: str) -> WandbMirror:
    """Of no run where there can be none: whatever goes wrong costs a warning."""
    try:
        return WandbMirror(_begin(config, tree, folder, run_id))
    except Exception as error:  # not installed, no room, no permission, its service does not start
        warn(f"W&B records nothing of this run: {_first_line(error)}. The run's own folder has everything")
        return WandbMirror(None)


def _begin(config: WandbConfig, tree: dict[str, Any], folder: Path, run_id: str) -> Any:
    # It reports errors to its makers, of a run that is said to be offline as well, and waits for them to listen.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    # console="off" leaves the terminal to us; the bounds keep an absent server from holding up a run.
    # Of itself it would record the command line, host, user's e-mail, address of the git remote and packages; what of
    # that makes a run repeatable is in environment.json.
    settings = wandb.Settings(silent=True, console="off", **BOUNDS, **PRIVATE)
    arguments: dict[str, Any] = dict(
        project=config.project,
        entity=config.entity,
        group=config.group,
        name=config.name or folder.name,
        tags=list(config.tags),
        notes=config.notes,
        config=tree,
        dir=folder.resolve(),  # its service may have been started in another folder
        id=run_id,
        resume="allow",
        reinit="finish_previous",
        settings=settings,
    )
    place = folder.resolve() / "wandb"  # on a disk that is full it would go elsewhere, and its log print tracebacks
    place.mkdir(exist_ok=True)
    _refuse_full(place)
    if config.mode == "online":
        reason = why_not_online()
        if reason is None:
            try:
                return wandb.init(mode="online", **arguments)
            except wandb.errors.Error as error:  # CommError, UsageError, AuthenticationError
                reason = _first_line(error)
                _tear_down()  # its service holds on to the run's id
        warn(
            f"W&B is recorded offline instead: {reason}."
            f" Upload it later: {sync_command(folder / 'wandb', 'offline-run-*')}"
        )
    return wandb.init(mode="offline", **arguments)


def why_not_online() -> str | None:
    """A reason that can be known at once: waiting for wandb to find it out takes a minute and a half."""
    import wandb

    settings = wandb.setup(wandb.Settings(silent=True)).settings
    if not wandb.login(verify=False, prompt=False):
        return "no API key is configured (wandb login)"
    address = urlparse(settings.base_url)
    port = address.port or (443 if address.scheme == "https" else 80)
    # Its own bound is for each of the server's addresses, and there is none for the look-up of the name.
    reason = _failing(lambda: _connect(address.hostname or "", port), REACH_SECONDS)
    # Not address.netloc, in which a name and a password may stand.
    return f"{address.hostname}:{port} cannot be reached ({reason})" if reason else None


def _connect(host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=REACH_SECONDS).close()
    except OSError as error:
        raise ConnectionError(error.strerror or str(error)) from None


def default_entity() -> str:
    """The account that runs belong to where none is named; asks the server."""
    import wandb

    return wandb.Api(timeout=15).default_entity or ""
