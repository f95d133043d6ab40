"""A trained network from its checkpoint alone: no data are read, and nothing that stands in the file is run."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer.config.check import check
from trainer.config.run_config import RunConfig
from trainer.data.images import Images, Shape
from trainer.data.loader import in_order
from trainer.errors import ConfigError, RunError, printable
from trainer.records.layout import BEST
from trainer.runtime.console import progress
from trainer.runtime.files import sha256_of
from trainer.storage import checkpoint
from trainer.storage.checkpoint_state import Best
from trainer.storage.untrusted import validate_plain
from trainer.techniques.layers import InputScaling
from trainer.training.build import build_network


@dataclass(frozen=True)
class TrainedNetwork:
    """The network of one epoch, in evaluation mode on the CPU. `digest`: the SHA-256 of the file."""

    path: Path
    digest: str
    config: RunConfig
    shape: Shape
    classes: tuple[str, ...]
    epoch: int
    network: nn.Module

    @property
    def name(self) -> str:
        """The run's folder, or the file where its name says more."""
        return str(self.path.parent if self.path.name == BEST else self.path)

    @torch.inference_mode()
    def probabilities(self, batches: Iterable[Tensor], device: torch.device) -> Tensor:
        """[N, K] in double precision on the CPU, for batches of uint8 [B, C, H, W]; forward passes are in fp32."""
        network = self.network.to(device)
        parts = []
        for images in batches:
            logits = network(images.to(device, memory_format=torch.channels_last))
            parts.append(logits.cpu().double().softmax(1))
        return torch.cat(parts)


def load_network(path: Path) -> TrainedNetwork:
    """Raises RunError with one line if the file is damaged, or holds what this trainer cannot build."""
    state = checkpoint.load(path)
    try:
        config = check(validate_plain(state.config))
        shape, classes = shape_of(state.shape), _classes(state.classes)
        weights = state.model if isinstance(state, Best) else _evaluated(state.trainer)
        _refuse_other_size(config, shape)
        network = network_with_weights(config, shape, classes, weights)
    except (ConfigError, LookupError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        raise RunError(f"{path} holds no network that this trainer can build: {_told(error)}") from None
    with path.open("rb") as file:
        digest = sha256_of(file)
    return TrainedNetwork(path, digest, config, shape, classes, state.epoch, network)


def network_with_weights(
    config: RunConfig, shape: Shape, classes: tuple[str, ...], weights: dict[str, Tensor]
) -> nn.Module:
    options = config.model.options
    layers = max(int(options.get("members", 1)), len(options["hidden"]) if config.model.name == "mlp" else 1)
    if layers > len(weights):
        raise ValueError(
            f"model={config.model.name} has at least {layers} layers, the file holds {len(weights)} weights"
        )
    # Without memory first: a wrong file may ask for any size, and is refused before there is anything to allocate.
    with torch.device("meta"):
        network = build_network(config, shape, classes, torch.empty(shape[0]), torch.empty(shape[0]))
    kinds = {name: value.dtype for name, value in network.state_dict().items()}
    network.load_state_dict(weights, assign=True)
    for name, value in network.state_dict().items():
        if value.dtype != kinds[name]:
            raise ValueError(f"{name} is {value.dtype} where {kinds[name]} is expected")
    for part in network.modules():
        if isinstance(part, InputScaling):
            part.spread()
    return network.requires_grad_(False).eval()


def _evaluated(state: Any) -> Any:
    """The weights that a run validates with, which under `regularization=ema` are their average."""
    return state["hooks"]["ema"]["module"] if "ema" in state["hooks"] else state["model"]


def _refuse_other_size(config: RunConfig, shape: Shape) -> None:
    """Test images are read at the size in the configuration, which is as much a stranger's as the shape."""
    size = config.dataset.options.get("image_size", shape[1])
    if shape[1:] != (size, size):
        raise ValueError(f"shape={list(shape)} and dataset.image_size={size} contradict each other")


def _classes(names: list[str]) -> tuple[str, ...]:
    """Printable names: the file may be a stranger's, and they are shown on a terminal."""
    if len(names) < 2:
        raise ValueError("classes: must be at least two names")
    return tuple(map(printable, names))


def _told(error: Exception) -> str:
    """One line; torch lists what does not fit behind a heading."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if isinstance(error, LookupError):
        return f"{lines[0]} is missing"
    return lines[1] if lines[0].startswith("Error(s)") and len(lines) > 1 else lines[0]


def evaluation_batches(images: Images, description: str) -> Iterable[Tensor]:
    """uint8 [B, C, H, W]: the images in their order."""
    return (images.at(chosen) for chosen in progress(in_order(images), description))


MOST_PIXELS = 4096  # a side


def shape_of(value: Any) -> Shape:
    """(C, H, W) of the images that a network was trained on. Raises ValueError."""
    try:
        channels, height, width = value
    except TypeError:
        raise ValueError(f"shape={value!r}: must be [1 or 3, height, width]") from None
    if any(type(each) is not int or each < 1 for each in value) or channels not in (1, 3):
        raise ValueError(f"shape={value!r}: must be [1 or 3, height, width]")
    if max(height, width) > MOST_PIXELS:
        raise ValueError(f"shape={value!r}: at most {MOST_PIXELS}×{MOST_PIXELS} pixels are read")
    return channels, height, width
