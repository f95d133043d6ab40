"""The progress of an epoch, with which a run that is stopped between two steps continues bit for bit; its report."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trainer.runtime.seeding import derive


class Meters:
    """The loss of each step [steps] and the number of correct predictions of an epoch, on the device.

    They are read once an epoch, so that no step waits for the GPU, and lie in the same memory in every epoch, to which
    a captured step (`cuda_graph=true`) writes. `position` is the step, counted on the device as well. `cross_entropy`:
    the sum over the images, of runs with another loss; None if the loss is the cross-entropy.
    """

    def __init__(self, steps: int, device: torch.device, other_loss: bool = False) -> None:
        self.losses = torch.zeros(steps, device=device)
        self.correct = torch.zeros((), device=device)
        self.cross_entropy = torch.zeros((), device=device) if other_loss else None
        self.position = torch.zeros((), dtype=torch.long, device=device)
        self.steps = torch.arange(steps, device=device)
        self.gradients = 0  # computed for an optimizer that asks for them, counted on the host

    def clear(self) -> None:
        """Begin an epoch."""
        for tensor in (self.losses, self.correct, self.position, self.cross_entropy):
            if tensor is not None:
                tensor.zero_()
        self.gradients = 0

    def add(self, loss: Tensor, correct: Tensor) -> None:
        """Note a step: the sum of its images' losses and the number of correct predictions, both scalars."""
        # Not an index on the device, whose bounds some versions of torch check on the host, and which takes a dozen
        # kernels where it must be deterministic.
        torch.where(self.steps == self.position, loss, self.losses, out=self.losses)
        self.correct += correct
        self.skip()

    def add_cross_entropy(self, total: Tensor) -> None:
        """Add the sum of a step's images, a scalar."""
        assert self.cross_entropy is not None
        self.cross_entropy += total

    def further(self, images: int) -> dict[str, float]:
        """Return what is reported of the epoch, of so many images, beside loss and accuracy."""
        return {} if self.cross_entropy is None else {"train_cross_entropy": self.cross_entropy.item() / images}

    def skip(self) -> None:
        """Pass over a step, whose loss stays 0."""
        self.position += 1


class EpochProgress:
    """The progress of the epoch being trained: its meters, and the states of its random generators.

    `augmentation` is the generator of the run's augmentation, seeded here for the epoch.
    """

    def __init__(self, seed: int, epoch: int, lr: float, meters: Meters, augmentation: torch.Generator) -> None:
        self.meters, self.device = meters, augmentation.device
        self.lr = lr  # the learning rate at the start of the epoch
        self.generator = augmentation.manual_seed(derive(seed, "augmentation", epoch))
        self.dropout_seed = derive(seed, "dropout", epoch)
        meters.clear()
        self.step = self.images = self.skipped_steps = 0  # steps done, images trained on, steps skipped
        self.seconds, self.complete = 0.0, False
        self.generators: dict[str, Tensor] = {}

    def begin(self) -> None:
        """Start the epoch or continue it: set the random generators and the clock.

        Dropout and torch's other layers draw from the global generators, so these are set last, just before training.
        """
        torch.manual_seed(self.dropout_seed)
        if self.generators:
            self.generator.set_state(self.generators["augmentation"])
            torch.set_rng_state(self.generators["cpu"])
            if self.device.type == "cuda":
                torch.cuda.set_rng_state(self.generators["cuda"], self.device)
            if self.device.type == "mps":
                torch.mps.set_rng_state(self.generators["mps"])
        self.started = time.perf_counter() - self.seconds

    def suspend(self, complete: bool = False) -> None:
        """Keep what `begin` restores, because validation and other runs draw from the same global generators."""
        self.complete = complete
        self.seconds = time.perf_counter() - self.started
        self.generators = {"augmentation": self.generator.get_state(), "cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            self.generators["cuda"] = torch.cuda.get_rng_state(self.device)
        if self.device.type == "mps":
            self.generators["mps"] = torch.mps.get_rng_state()

    def state_dict(self) -> dict[str, Any]:
        """Return the progress at the last `suspend`; the device tells which generators are in it."""
        return {
            "device": self.device.type,
            "lr": self.lr,
            "step": self.step,
            "images": self.images,
            "skipped_steps": self.skipped_steps,
            "seconds": self.seconds,
            "losses": self.meters.losses,
            "correct": self.meters.correct,
            "generators": self.generators,
            **({"gradients": self.meters.gradients} if self.meters.gradients else {}),
            **({} if self.meters.cross_entropy is None else {"cross_entropy": self.meters.cross_entropy}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a progress; `begin` sets the generators."""
        self.lr, self.step, self.images = state["lr"], state["step"], state["images"]
        self.skipped_steps, self.seconds = state["skipped_steps"], state["seconds"]
        self.meters.losses.copy_(state["losses"])
        self.meters.correct.copy_(state["correct"])
        self.meters.position.fill_(self.step)
        self.meters.gradients = state.get("gradients", 0)
        if self.meters.cross_entropy is not None:
            self.meters.cross_entropy.copy_(state["cross_entropy"])
        # The state of a CPU generator does not fit a GPU's, nor the reverse: there the epoch's seeds start again.
        self.generators = state["generators"] if state["device"] == self.device.type else {}


@dataclass(frozen=True)
class EpochReport:
    """The results of one epoch. Losses are means over images, accuracies fractions of one, `epoch` counts from 1.

    The validation figures are None if the epoch was not validated. `improved`: its validation loss is the lowest so
    far. `skipped_steps`: those skipped under `on_nonfinite`. `layer_stats`: see `diagnosis/layer_stats.py`; None if
    they were not recorded. `gradients`: computed in the epoch, None unless the optimizer asks for them itself.
    `further`: by name, the metrics, and the cross-entropies beside another loss. `halves`: by name, the validation
    figures of each half of the images (`training/halves.py`), which are recorded and shown nowhere.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    lr: float
    epoch_seconds: float
    images_per_second: float
    improved: bool
    skipped_steps: int = 0
    layer_stats: dict[str, Any] | None = None
    gradients: int | None = None
    further: Mapping[str, float] = field(default_factory=dict)
    halves: Sequence[Mapping[str, float]] = ()

    def row(self) -> dict[str, Any]:
        """Return the report as a line of `metrics.jsonl` holds it, but for the halves."""
        values = {name: value for name, value in vars(self).items() if name != "halves"}
        return values | dict(values.pop("further"))
