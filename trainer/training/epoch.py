"""How far an epoch has come: with it a run that is stopped between two steps goes on bit for bit."""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer.runtime.seeding import derive, generator


class EpochProgress:
    """The sums of an epoch under way, and the generators that are drawn from in it.

    `losses` [steps] and `correct` stay on the device and are read once an epoch: no step waits for them.
    """

    def __init__(self, seed: int, epoch: int, steps: int, lr: float, device: torch.device) -> None:
        self.device, self.lr = device, lr  # the rate that the epoch begins with
        self.draw = generator(seed, "augmentation", epoch, device)
        self.dropout_seed = derive(seed, "dropout", epoch)
        self.losses = torch.zeros(steps, device=device)
        self.correct = torch.zeros((), device=device)
        self.step = self.images = self.skipped_steps = 0  # those done, trained on, left out
        self.seconds, self.complete = 0.0, False
        self.generators: dict[str, Tensor] = {}

    def begin(self) -> None:
        """Sets torch's own generator, which dropout draws from, and the clock: to the start or to where it stopped."""
        torch.manual_seed(self.dropout_seed)
        if self.generators:
            self.draw.set_state(self.generators["augmentation"])
            torch.set_rng_state(self.generators["cpu"])
            if self.device.type == "cuda":
                torch.cuda.set_rng_state(self.generators["cuda"], self.device)
            if self.device.type == "mps":
                torch.mps.set_rng_state(self.generators["mps"])
        self.started = time.perf_counter() - self.seconds

    def rest(self, complete: bool = False) -> None:
        """Keeps what `begin` sets: others may draw and work until it goes on."""
        self.complete = complete
        self.seconds = time.perf_counter() - self.started
        self.generators = {"augmentation": self.draw.get_state(), "cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            self.generators["cuda"] = torch.cuda.get_rng_state(self.device)
        if self.device.type == "mps":
            self.generators["mps"] = torch.mps.get_rng_state()

    def state_dict(self) -> dict[str, Any]:
        return {
            "device": self.device.type,
            "lr": self.lr,
            "step": self.step,
            "images": self.images,
            "skipped_steps": self.skipped_steps,
            "seconds": self.seconds,
            "losses": self.losses,
            "correct": self.correct,
            "generators": self.generators,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.lr, self.step, self.images = state["lr"], state["step"], state["images"]
        self.skipped_steps, self.seconds = state["skipped_steps"], state["seconds"]
        self.losses.copy_(state["losses"])
        self.correct.copy_(state["correct"])
        # A generator of another kind of device cannot be taken over: the epoch's draws begin anew.
        self.generators = state["generators"] if state["device"] == self.device.type else {}


@dataclass(frozen=True)
class EpochReport:
    """What one epoch came to. Losses are means over images, accuracies fractions of one, `epoch` counts from 1.

    The validation figures are None where this epoch was not validated, `improved` says it has the lowest
    validation loss so far. `skipped_steps` were left out under `on_nonfinite`; `layer_stats`
    (trainer/layer_stats.py) is None where it was not asked for.
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
