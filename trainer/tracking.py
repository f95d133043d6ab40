"""The record of a run: its own folder first, Weights & Biases as a mirror. The only module that imports wandb."""

import json
import math
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from trainer import checkpoint
from trainer.config import WandbConfig
from trainer.console import warn
from trainer.epoch import EpochReport
from trainer.errors import RunError

METRICS = "metrics.jsonl"


class MetricsFile:
    """`metrics.jsonl`: one object an epoch. What is not a number is written as null: strict JSON has no NaN.

    Opened after `epoch`, it drops what was written later than the checkpoint of that epoch, and a torn last line.
    """

    def __init__(self, folder: Path, epoch: int) -> None:
        self.path = folder / METRICS
        kept = []
        for number, line in enumerate(self._whole_lines(), 1):
            try:
                kept += [line + "\n"] if json.loads(line)["epoch"] <= epoch else []
            except (ValueError, LookupError, TypeError):
                raise RunError(f"{self.path}, line {number} is damaged: mend or remove it and start again") from None
        checkpoint.write_text(self.path, "".join(kept))

    def append(self, report: EpochReport) -> None:
        values = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(report).items()
            if key != "insight" or value is not None
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values, allow_nan=False) + "\n")

    def _whole_lines(self) -> list[str]:
        text = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
        return text[: text.rfind("\n") + 1].splitlines()


class WandbMirror:
    """One W&B run, or under `wandb.mode=disabled` none."""

    def __init__(self, run: Any) -> None:
        self.run = run

    def log(self, report: EpochReport) -> None:
        if self.run:
            values = {key: value for key, value in asdict(report).items() if value is not None}
            values |= _inside(values.pop("insight")) if report.insight else {}
            self.run.log(values, step=report.epoch)

    def summarize(self, values: dict[str, Any]) -> None:
        if self.run:
            self.run.summary.update(values)


def _inside(insight: dict[str, Any]) -> dict[str, Any]:
    """The insight as W&B shows it: numbers and histograms under insight/<layer>/<quantity>, filters as a picture."""
    import numpy as np
    import wandb

    shown: dict[str, Any] = {}
    for layer, found in insight["layers"].items():
        for quantity, value in found.items():
            if isinstance(value, dict):
                edges = np.linspace(value["low"], value["high"], len(value["counts"]) + 1)
                value = wandb.Histogram(np_histogram=(value["counts"], edges))
            if value is not None and not isinstance(value, str):
                shown[f"insight/{layer}/{quantity}"] = value
    if insight["filters"]:
        filters = np.array(insight["filters"]["values"], dtype=np.uint8)
        if filters.shape[1] not in (1, 3):
            filters = filters.mean(1, keepdims=True).astype(np.uint8)
        # [F, C, H, W] to [H, F·W, C], eight times as large: the filters in a row, a black line after each.
        large = np.pad(filters.repeat(8, 2).repeat(8, 3), ((0, 0), (0, 0), (0, 0), (0, 2)))
        shown["insight/filters"] = wandb.Image(np.concatenate(list(large), axis=2).transpose(1, 2, 0))
    return shown


@contextmanager
def wandb_mirror(config: WandbConfig, tree: dict[str, Any], folder: Path, run_id: str) -> Iterator[WandbMirror]:
    """The mirror, closed with exit code 1 if the run fails inside."""
    run = None if config.mode == "disabled" else _start(config, tree, folder, run_id)
    exit_code = 1
    try:
        yield WandbMirror(run)
        exit_code = 0
    finally:
        if run:
            run.finish(exit_code=exit_code)


def _start(config: WandbConfig, tree: dict[str, Any], folder: Path, run_id: str) -> Any:
    import wandb

    # console="off" leaves the terminal to us; the bounds keep an absent server from holding up a run.
    settings = wandb.Settings(silent=True, console="off", init_timeout=20, finish_timeout=15)
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
    if config.mode == "online":
        reason = _why_not_online(wandb)
        if reason is None:
            try:
                return wandb.init(mode="online", **arguments)
            except wandb.errors.Error as error:  # CommError, UsageError, AuthenticationError
                reason = str(error).splitlines()[0]
        warn(f"W&B is recorded offline instead: {reason}. Upload it later: wandb sync {folder}/wandb/offline-run-*")
    return wandb.init(mode="offline", **arguments)


def _why_not_online(wandb: Any) -> str | None:
    """A reason that can be known at once: waiting for wandb to find it out takes a minute and a half."""
    settings = wandb.setup(wandb.Settings(silent=True)).settings
    if not wandb.login(verify=False, prompt=False):
        return "no API key is configured (wandb login)"
    address = urlparse(settings.base_url)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), timeout=2).close()
    except OSError as error:
        return f"{address.netloc} cannot be reached ({error.strerror or error})"
    return None
