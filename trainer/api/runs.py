"""A run: `trainer.train`, and its settings, figures, curves and network.

Imports no torch before something is trained or the network is asked for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.api.given import techniques_of
from trainer.api.guest import training
from trainer.api.settings import composed, settings
from trainer.config.check import check
from trainer.config.own import OwnTechniques, using
from trainer.config.run_config import RunConfig
from trainer.config.shell import setting
from trainer.errors import ConfigError, OneLineError, tell_folder
from trainer.records.layout import BEST
from trainer.records.metrics import read_metrics
from trainer.records.outcome import Outcome
from trainer.reports import inline
from trainer.reports.content import Content
from trainer.reports.run_content import of_run
from trainer.storage.untrusted import read_config

if TYPE_CHECKING:
    import pandas
    import torch


class Run:
    """A run in its folder. Everything is read when it is asked for, so that a run that still trains shows its state."""

    def __init__(self, folder: Path, techniques: Sequence[OwnTechniques] = ()) -> None:
        """`techniques`: the own ones that it was given."""
        self.folder, self._own = folder.absolute(), tuple(techniques)  # whatever folder the program goes to

    def __repr__(self) -> str:
        try:
            result = self.result
        except OneLineError as error:  # what shows an object must not fail
            return f"<Run {self.folder}: {error}>"
        accuracy = (
            "" if result.validation_accuracy is None else f", validation_accuracy={result.validation_accuracy:.4f}"
        )
        return f"<Run {self.folder}: {result.state}, {result.epochs} epochs{accuracy}>"

    def _repr_html_(self) -> str:
        return inline.shown(lambda: inline.of_run(self._content()))

    def _content(self) -> Content:
        return of_run(self.folder)

    @property
    def config(self) -> RunConfig:
        """The settings as they are recorded. Raises ConfigError if they are damaged."""
        with using(self._own):
            return check(read_config(self.folder / "config.yaml"), needed=())

    @property
    def result(self) -> Outcome:
        """The state ("finished", "failed", …), `epochs`, and the figures of the epoch with the lowest validation loss.

        These are `best_epoch`, `validation_loss` (nats), `validation_accuracy` and `train_eval_accuracy` (shares from 0
        to 1), None where nothing was measured.

        >>> 0.5 < run.result.validation_accuracy <= 1
        True
        """
        (run,) = self._content().arms[0].runs
        return run.outcome

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A dictionary an epoch: epoch (from 1), losses (nats), accuracies (0 to 1), lr, epoch_seconds and others.

        A value that was not measured or not finite is None.

        >>> [row["epoch"] for row in run.rows]
        [1, 2]
        """
        return read_metrics(self.folder)

    @property
    def metrics(self) -> pandas.DataFrame:
        """The rows as a pandas frame [epochs, figures]. Raises ConfigError without pandas.

        >>> list(run.metrics["epoch"])
        [1, 2]
        """
        return frame(self.rows)

    def model(self) -> torch.nn.Module:
        """Return the network of the best epoch in evaluation mode on the CPU, with its input scaling as first layer.

        It takes images [N, C, H, W], bytes from 0 to 255 or floats from 0 to 1, or in the unit of a data set of floats,
        and returns logits [N, K]. Its weights are frozen (`requires_grad_` thaws them). Raises ConfigError if there is
        no checkpoint or an own technique is missing, RunError if it is damaged.

        >>> logits = run.model()(torch.zeros(5, 1, 32, 32, dtype=torch.uint8))
        >>> tuple(logits.shape)
        (5, 10)
        """
        return self._network().network

    def predict(self, images: Any) -> torch.Tensor:
        """Return the probabilities [N, K] (float64) of the classes for images [N, C, H, W], a tensor or an array.

        The values are as for `model`. Raises ConfigError for another shape.

        >>> probabilities = run.predict(torch.zeros(5, 1, 32, 32, dtype=torch.uint8))
        >>> tuple(probabilities.shape)
        (5, 10)
        """
        import torch

        network, pixels = self._network(), torch.as_tensor(images)
        if pixels.ndim != 4 or tuple(pixels.shape[1:]) != network.shape:
            wanted, got = ", ".join(map(str, network.shape)), ", ".join(map(str, pixels.shape))
            raise ConfigError(f"predict: images must be [N, {wanted}], these are [{got}]")
        return network.probabilities(pixels.split(1024), torch.device("cpu")).clone()  # no tensor of inference mode

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the logits."""
        return self._network().classes

    def _network(self) -> Any:
        from trainer.evaluation.inference import load_network

        path = self.folder / BEST
        if not path.is_file():
            raise ConfigError(f"{self.folder}: has not been validated yet, {path} does not exist")
        with using(self._own):
            return load_network(path)

    def resume(self, *overrides: str, epochs: int | None = None, progress: bool = True) -> Run:
        """Continue the run up to `epochs` (default: those that it was made for), bit for bit as if it had not stopped.

        `overrides`: settings that may change, such as "device=cpu". Raises what `train` does.

        >>> run.resume(epochs=3, progress=False).result.epochs
        3
        """
        more = [] if epochs is None else [f"epochs={epochs}"]
        typed = [setting("resume", str(self.folder)), *more, *settings(overrides, "resume")]
        return train(composed(self._own, typed), progress=progress)


def train(config: RunConfig, *, progress: bool = True) -> Run:
    """Train a run in a new folder below `output_root` (default: `outputs`), or continue that of `resume=`.

    `progress=False` prints nothing but warnings. Ctrl-C, or interrupting the kernel, takes effect after the step that
    is under way; the state is saved first.

    Raises ConfigError before anything is written; RunError if the data are missing, the loss is not finite or the
    memory runs out; Interrupted, a KeyboardInterrupt, whose message and `folder` say what is saved.

    >>> run = trainer.train(trainer.compose("dataset=digits", "model=mlp", "epochs=2"), progress=False)
    >>> run.result.state, run.result.epochs
    ('finished', 2)
    """
    if not isinstance(config, RunConfig):
        raise ConfigError(f'train({config!r:.80}): takes what compose returns: train(compose("dataset=digits", …))')
    own = techniques_of(config)
    with training(own, progress, 'To continue: trainer.load("{folder}").resume()'):
        from trainer.run import train as train_run

        result = train_run(config)
        if result.interrupt:  # it came after the last step: the cells below must not run
            tell_folder(result.interrupt, result.folder)
            raise result.interrupt
    return Run(result.folder, own)


def frame(rows: Sequence[dict[str, Any]]) -> pandas.DataFrame:
    """Return rows as a pandas frame. Raises ConfigError without pandas."""
    if importlib.util.find_spec("pandas") is None:
        raise ConfigError("a frame needs pandas: pip install pandas. Without it, `rows` holds the same as dictionaries")
    import pandas

    return pandas.DataFrame(rows)
