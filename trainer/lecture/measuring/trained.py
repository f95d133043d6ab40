"""A trained network with the images of its run, for the measures that use it anew. The test set is never read."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from trainer.config.run_config import RunConfig
from trainer.data.images import Images
from trainer.data.loader import in_order, load
from trainer.errors import RunError
from trainer.evaluation.inference import load_network
from trainer.lecture.measuring.runs import RunRecord
from trainer.records.layout import BEST, LAST
from trainer.runtime.files import expanded
from trainer.training.build import pick_device
from trainer.training.determinism import deterministic_mode

Change = Callable[[Tensor], Tensor]  # of pixels [B, C, H, W]


@dataclass(frozen=True)
class Trained:
    """The network of a run's best epoch in evaluation mode, and the images that it was trained and validated on.

    `black`: the value of a black pixel. Network and images lie on the device of the run.
    """

    run: RunRecord
    config: RunConfig
    network: nn.Module
    training: Images
    validation: Images

    @classmethod
    def load(cls, run: RunRecord) -> "Trained":
        """Load the best network of a run and its images. Raises RunError if there is none, or no validation image."""
        found = load_network(run.folder / BEST)
        device = pick_device(found.config.device)
        images = load(found.config.dataset, expanded(found.config.data_dir), device)
        training, validation = found.config.dataset.shared_function()(images, found.config.split_seed)
        if validation is None:
            raise RunError(f"{run.folder} cannot be measured: it was trained without validation images")
        return cls(run, found.config, found.network.to(device), training, validation)

    @cached_property
    def last(self) -> nn.Module:
        """The network that the last epoch was validated with, in evaluation mode. Raises RunError without one."""
        return load_network(self.run.folder / LAST).network.to(self.validation.labels.device)

    @property
    def black(self) -> float:
        """The value of a black pixel: 0 of bytes, the lowest of the training images' floats."""
        return self.training.value_range[0]

    @torch.inference_mode()
    def logits(self, network: nn.Module, images: Images | None = None, change: Change | None = None) -> Tensor:
        """Return [N, K] of the validation images or others, in order. `change`: what is done to their pixels before."""
        images = self.validation if images is None else images
        with deterministic_mode(self.config.deterministic):
            batches = (images.at(positions) for positions in in_order(images))
            return torch.cat([network(change(pixels) if change else pixels).float() for pixels in batches])

    def accuracy(self, logits: Tensor, images: Images | None = None) -> float:
        """Return the accuracy of logits or probabilities [N, K] on the validation images or others, in points."""
        labels = (self.validation if images is None else images).labels
        return 100 * (logits.argmax(1) == labels).double().mean().item()
