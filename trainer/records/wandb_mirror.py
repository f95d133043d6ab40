"""Weights & Biases as a copy of the run's own folder. Only the modules `wandb_…` import wandb."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from trainer.records.samples import Sample
    from trainer.training.epoch import EpochReport

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from trainer.config.run_config import WandbConfig
from trainer.config.shell import sync_command
from trainer.records.wandb_connection import (
    FINISH_SECONDS,
    begin,
    failure_within,
    first_line,
    refuse_full,
)
from trainer.records.wandb_content import define_metrics, epoch_values, parameter_histograms
from trainer.records.wandb_environment import staged_in, tear_down
from trainer.runtime.console import warn
from trainer.runtime.memory import skip_on_oom

SEND_SECONDS = 5  # for wandb to accept what is sent


class WandbMirror:
    """One W&B run, or none under `wandb.mode=disabled`. An error of W&B is a warning and never ends a run.

    `listening`: false from the first error on, after which nothing more is sent.
    """

    def __init__(self, run: Any) -> None:
        self.run = run
        self.listening, self.histograms = run is not None, True
        self.folder = Path(run.dir).parent if self.listening else Path()

    def log(self, report: "EpochReport", network: "nn.Module | None" = None) -> None:
        """Send the results of an epoch, with histograms of the network's parameters if one is given."""
        # Layer statistics have histograms of their own.
        histograms = self._histograms(network) if network and not report.layer_stats else {}
        self.log_row(report.row(), histograms)

    def log_row(self, row: Mapping[str, Any], more: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Send the results of an epoch, as they stand in `metrics.jsonl`."""
        self._send(lambda run: run.log({**epoch_values(row), **more}, step=row["epoch"]))

    def summarize(self, values: dict[str, Any]) -> None:
        """Send values of the run as a whole."""
        self._send(lambda run: run.summary.update(values))

    def log_samples(
        self, samples: "Sequence[Sample]", confusion: Sequence[Sequence[int]], classes: Sequence[str]
    ) -> None:
        """Send sample predictions as images and the confusion matrix as a table, at the last epoch's step."""

        def send(run: Any) -> None:
            import wandb

            run.log({"samples": [wandb.Image(_image(sample), caption=sample.words) for sample in samples]}, run.step)

        self._send(send)
        self.log_confusion(confusion, classes)

    def log_confusion(self, confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> None:
        """Send the confusion matrix as a table."""
        counts = [
            (true, predicted, count)
            for true, row in zip(classes, confusion, strict=True)
            for predicted, count in zip(classes, row, strict=True)
        ]
        self.tabulate("confusion", ["true", "predicted", "images"], counts)

    def tabulate(self, name: str, titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Send a table."""

        def send(run: Any) -> None:
            import wandb

            table = wandb.Table(columns=list(titles), data=[list(row) for row in rows])
            # A file of the run. Otherwise it would also be an artifact, which records absolute paths.
            table.bind_to_run(run, name, run.step)
            run.log({name: table}, step=run.step)

        self._send(send)

    def log_artifact(self, path: Path) -> None:
        """Send a file as an artifact of the run."""

        self._send(lambda run: _log_artifact(run, f"{run.id}-{path.stem}", "model", {path.name: path}))

    def log_code(self, texts: Mapping[str, str]) -> None:
        """Send the code that decides the result as an artifact; runs of the same code share a version of it."""

        def send(run: Any) -> None:
            copies = self.folder / "code"  # the files themselves may be edited before they are uploaded
            files = {name: copies / name for name in texts}
            for name, copy in files.items():
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(texts[name], encoding="utf-8")
            _log_artifact(run, "trainer-code", "code", files)

        self._send(send)

    def finish(self, exit_code: int) -> None:
        """Close the run; warn if not all was uploaded, unless an earlier error has been reported."""
        try:
            self.run.finish(exit_code=exit_code)
            return
        except TimeoutError:
            reason = f"not all was uploaded within {FINISH_SECONDS} seconds"
        except Exception as error:  # such as that of a service that has died: the run's own folder is complete
            reason = first_line(error)
            tear_down()  # otherwise wandb tries again at exit and prints a traceback
        if self.listening:
            warn(f"W&B did not finish: {reason}. Upload the run later: {sync_command(self.folder)}")

    def _histograms(self, network: "nn.Module") -> dict[str, Any]:
        """Return the histograms; none, with a warning, from the first error on, such as that of an operation."""
        if self.listening and self.histograms:
            try:
                with skip_on_oom():
                    return parameter_histograms(network)
            except Exception as error:
                self.histograms = False
                warn(f"W&B gets no histograms of this run: {first_line(error)}")
        return {}

    def _send(self, send: Callable[[Any], None]) -> None:
        """Call `send(run)`, for at most SEND_SECONDS: a table waits for the server, for hours if it is down."""
        if not self.listening:
            return

        def attempt() -> None:
            refuse_full(self.folder)
            send(self.run)

        if reason := failure_within(SEND_SECONDS, attempt):
            self.listening = False
            warn(
                f"W&B gets no more of this run: {reason}. The run's own folder has everything; to upload what W&B has"
                f" received: {sync_command(self.folder)}"
            )


@contextmanager
def wandb_mirror(config: WandbConfig, tree: dict[str, Any], folder: Path, run_id: str) -> Iterator[WandbMirror]:
    """Yield the W&B run and close it, with exit code 1 if the block fails."""
    mirror = WandbMirror(None) if config.mode == "disabled" else _start(config, tree, folder, run_id)
    exit_code = 1
    try:
        with staged_in(folder.resolve() / "wandb"):
            yield mirror
        exit_code = 0
    finally:
        if mirror.run:
            mirror.finish(exit_code)


def _start(config: WandbConfig, tree: dict[str, Any], folder: Path, run_id: str) -> WandbMirror:
    """Start the W&B run; warn and return a mirror without one if that fails."""
    try:
        run = begin(config, tree, folder, run_id)
        define_metrics(run, tree)
        return WandbMirror(run)
    except Exception as error:  # wandb is not installed, no space, no permission, its service does not start
        warn(f"W&B records nothing of this run: {first_line(error)}. The run's own folder has everything")
        return WandbMirror(None)


def _log_artifact(run: Any, name: str, kind: str, files: Mapping[str, Path]) -> None:
    """Send files by their names as an artifact."""
    import wandb

    artifact = wandb.Artifact(name, type=kind)
    for inner, path in files.items():
        # A path from the working folder, in which `wandb sync` is called, too, and no copy: one in the cache would lie
        # in the user's home folder, and one in the run's folder would be recorded by its absolute path.
        artifact.add_file(os.path.relpath(path), name=inner, skip_cache=True, policy="immutable")
    run.log_artifact(artifact)


def _image(sample: "Sample") -> Any:
    """Return pixels [H, W, C], or [H, W] for one channel, as W&B takes images."""
    pixels = sample.pixels.permute(1, 2, 0).numpy()
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
