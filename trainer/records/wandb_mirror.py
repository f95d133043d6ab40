"""Weights & Biases as a copy of the run's own folder. Only the modules `wandb_…` import wandb."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer.records.samples import Sample
    from trainer.training.epoch import EpochReport

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
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
from trainer.records.wandb_environment import staged_in, tear_down
from trainer.runtime.console import warn
from trainer.techniques.layer_names import layer_titles

SEND_SECONDS = 5  # for wandb to accept what is sent


class WandbMirror:
    """One W&B run, or none under `wandb.mode=disabled`. An error of W&B is a warning and never ends a run.

    `listening`: false from the first error on, after which nothing more is sent.
    """

    def __init__(self, run: Any) -> None:
        self.run = run
        self.listening = run is not None
        self.folder = Path(run.dir).parent if self.listening else Path()

    def log(self, report: "EpochReport") -> None:
        """Send the results of an epoch."""

        def send(run: Any) -> None:
            values = {key: value for key, value in asdict(report).items() if value is not None}
            values |= _layer_stats_values(values.pop("layer_stats")) if report.layer_stats else {}
            run.log(values, step=report.epoch)

        self._send(send)

    def summarize(self, values: dict[str, Any]) -> None:
        """Send values of the run as a whole."""
        self._send(lambda run: run.summary.update(values))

    def log_samples(
        self, samples: "Sequence[Sample]", confusion: Sequence[Sequence[int]], classes: Sequence[str]
    ) -> None:
        """Send tables of sample predictions and of the confusion matrix, at the last epoch's step."""

        def send(run: Any) -> None:
            import wandb

            images = [
                (wandb.Image(_image(sample)), sample.true, sample.predicted, sample.probability) for sample in samples
            ]
            counts = [
                (true, predicted, count)
                for true, row in zip(classes, confusion, strict=True)
                for predicted, count in zip(classes, row, strict=True)
            ]
            tables = {
                "samples": wandb.Table(columns=["image", "true", "predicted", "probability"], data=images),
                "confusion": wandb.Table(columns=["true", "predicted", "images"], data=counts),
            }
            run.log(tables, step=run.step)

        self._send(send)

    def tabulate(self, name: str, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Send a table of texts."""

        def send(run: Any) -> None:
            import wandb

            run.log({name: wandb.Table(columns=list(titles), data=[list(row) for row in rows])})

        self._send(send)

    def log_artifact(self, path: Path) -> None:
        """Send a file as an artifact of the run."""

        def send(run: Any) -> None:
            import wandb

            artifact = wandb.Artifact(f"{run.id}-{path.stem}", type="model")
            artifact.add_file(str(path), skip_cache=True)  # the cache would be a copy in the user's home folder
            run.log_artifact(artifact)

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
        return WandbMirror(begin(config, tree, folder, run_id))
    except Exception as error:  # wandb is not installed, no space, no permission, its service does not start
        warn(f"W&B records nothing of this run: {first_line(error)}. The run's own folder has everything")
        return WandbMirror(None)


def _layer_stats_values(layer_stats: dict[str, Any]) -> dict[str, Any]:
    """Return the layer statistics for W&B: numbers and histograms by layer and quantity, filters as an image."""
    import numpy as np
    import wandb

    values: dict[str, Any] = {}
    titles = layer_titles({layer: quantities["kind"] for layer, quantities in layer_stats["layers"].items()})
    for layer, quantities in layer_stats["layers"].items():
        for quantity, value in quantities.items():
            if isinstance(value, dict):
                edges = np.linspace(value["low"], value["high"], len(value["counts"]) + 1)
                value = wandb.Histogram(np_histogram=(value["counts"], edges))
            if value is not None and not isinstance(value, str):
                values[f"layer_stats/{titles[layer]}/{quantity}"] = value
    if layer_stats["filters"]:
        filters = np.array(layer_stats["filters"]["values"], dtype=np.uint8)
        if filters.shape[1] not in (1, 3):  # channels that are no colours: their mean, in grey
            filters = filters.mean(1, keepdims=True).astype(np.uint8)
        # [F, C, H, W] to [H, F·W, C], enlarged eight times: the filters in a row with a black line after each.
        large = np.pad(filters.repeat(8, 2).repeat(8, 3), ((0, 0), (0, 0), (0, 0), (0, 2)))
        values["layer_stats/filters"] = wandb.Image(np.concatenate(list(large), axis=2).transpose(1, 2, 0))
    return values


def _image(sample: "Sample") -> Any:
    """Return pixels [H, W, C], or [H, W] for one channel, as W&B takes images."""
    pixels = sample.pixels.permute(1, 2, 0).numpy()
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
