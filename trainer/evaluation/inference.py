"""Load a trained network from its checkpoint alone: no data are read, and nothing in the file is executed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer.config.check import check
from trainer.config.own_record import match, recorded
from trainer.config.run_config import RunConfig
from trainer.config.schema import techniques
from trainer.data.images import Images, Shape
from trainer.data.loader import in_order
from trainer.errors import ConfigError, RunError, printable
from trainer.records.code import NETWORK, warn_of_other_network
from trainer.records.layout import BEST
from trainer.runtime.console import progress, warn
from trainer.runtime.files import sha256_of
from trainer.storage import checkpoint
from trainer.storage.checkpoint_state import Best, Last
from trainer.storage.untrusted import validate_plain
from trainer.techniques.hooks import join
from trainer.techniques.networks.input_layers import InputScaling
from trainer.techniques.remedies import size_read
from trainer.training.build import build_hooks
from trainer.training.network import network_to_load
from trainer.training.state_forms import refuse_unlike

LAYERS = {"mlp": "hidden", "ensemble": "members"}  # model → its option that is a number, or a list, of layers


@dataclass(frozen=True)
class TrainedNetwork:
    """The network of one epoch, in evaluation mode on the CPU. `digest`: the SHA-256 of the file.

    `value_range`: (lowest, highest) value of the training images; None if their pixels were bytes.
    """

    path: Path
    digest: str
    config: RunConfig
    shape: Shape
    classes: tuple[str, ...]
    epoch: int
    network: nn.Module
    value_range: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """The folder of the run, or the file if it is not the best checkpoint."""
        return str(self.path.parent if self.path.name == BEST else self.path)

    @torch.inference_mode()
    def probabilities(self, batches: Iterable[Tensor], device: torch.device) -> Tensor:
        """Return [N, K] in double precision on the CPU, for batches [B, C, H, W]; forward passes are in fp32."""
        network = self.network.to(device)
        parts = []
        for images in batches:
            logits = network(images.to(device, memory_format=torch.channels_last))
            # In fp32 probabilities near 1 would be rounded to 1.
            parts.append(logits.cpu().double().softmax(1))
        return torch.cat(parts)


def load_network(path: Path) -> TrainedNetwork:
    """Load a checkpoint, and warn if networks are built by other code than when it was trained.

    Raises RunError with one line if it is damaged or holds no network that can be built here.
    """
    state = checkpoint.load(path)
    # Settings, shape and names are untrusted: each is checked before the code that builds a network uses it.
    needed = (*NETWORK, *(["regularization"] if isinstance(state, Last) else []))
    if isinstance(state.config, Mapping):
        match(path.parent, state.config, needed)
    try:
        config = check(validate_plain(state.config), needed=needed)
        shape, classes = shape_of(state.shape), _classes(state.classes)
        weights = state.model if isinstance(state, Best) else state.trainer["model"]
        _refuse_other_size(config, shape)
        network = network_with_weights(config, shape, classes, weights)
        if isinstance(state, Last):
            network = _evaluated(config, network, state.trainer["hooks"])
    except (ConfigError, LookupError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        raise RunError(f"{path} holds no network that this trainer can build: {_reason(error)}") from None
    warn_of_other_network(path.parent, config)
    _warn_of_unknown(path, config)
    with path.open("rb") as file:  # the ledger recognizes a copy of the checkpoint by this hash
        digest = sha256_of(file)
    value_range = (state.value_range[0], state.value_range[1]) if state.value_range else None
    return TrainedNetwork(path, digest, config, shape, classes, state.epoch, network, value_range)


def _warn_of_unknown(path: Path, config: RunConfig) -> None:
    """Warn of own regularizations that were not given, and of which no record says that the network is without them."""
    told = recorded(path.parent)
    for choice in config.regularization:
        if choice.name not in techniques("regularization") and f"regularization.{choice.name}" not in told:
            warn(
                f"{path} was trained with regularization={choice.name}, which is no technique of this program: if it"
                " changes the network, the answers are others. Add --techniques"
            )


def network_with_weights(
    config: RunConfig, shape: Shape, classes: tuple[str, ...], weights: dict[str, Tensor]
) -> nn.Module:
    """Return the network of this configuration with these weights, in evaluation mode. Raises ValueError."""
    # Each member of an ensemble and each width of an mlp is a layer at least. The file may ask for millions,
    # and to build them would take hours even without memory.
    asked = config.model.options[LAYERS[config.model.name]] if config.model.name in LAYERS else 1
    layers = len(asked) if isinstance(asked, tuple) else asked
    if layers > len(weights):
        raise ValueError(
            f"model={config.model.name} has at least {layers} layers, the file holds {len(weights)} weights"
        )
    # On the meta device, which allocates nothing: a wrong file may ask for any size, and is refused before it is built.
    network = network_to_load(config, shape, classes)
    dtypes = {name: value.dtype for name, value in network.state_dict().items()}
    # Tensors on the meta device cannot be copied into. `assign` takes over the types of the file and compares only
    # names and shapes, so the types are compared here.
    network.load_state_dict(weights, assign=True)
    for name, value in network.state_dict().items():
        if value.dtype != dtypes[name]:
            raise ValueError(f"{name} is {value.dtype} where {dtypes[name]} is expected")
    for module in network.modules():
        if isinstance(module, InputScaling):
            module.spread()
    return network.requires_grad_(False).eval()


def _evaluated(config: RunConfig, network: nn.Module, saved: Any) -> nn.Module:
    """Return the model that the run validates with: its network, or the one that a technique keeps for that."""
    hooks = join(build_hooks(config, network))
    # Compared before it is loaded: the file may come from anywhere.
    refuse_unlike({name: holder.state_dict() for name, holder in hooks.state.items()}, saved, "hooks")
    for name, holder in hooks.state.items():
        holder.load_state_dict(saved[name])
    return (hooks.evaluated or network).requires_grad_(False).eval()


def _refuse_other_size(config: RunConfig, shape: Shape) -> None:
    """Refuse a shape that differs from dataset.image_size, at which test images are read: both are untrusted."""
    size = size_read(config.dataset)
    if size is not None and shape[1:] != (size, size):
        raise ValueError(f"shape={list(shape)} and dataset.image_size={size} contradict each other")


def _classes(names: list[str]) -> tuple[str, ...]:
    """Return the names without control characters: they are untrusted and shown on a terminal."""
    if len(names) < 2:
        raise ValueError("classes: must be at least two names")
    return tuple(map(printable, names))


def _reason(error: Exception) -> str:
    """Return one line of an error; torch lists the tensors that do not fit below a heading."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if isinstance(error, LookupError):
        return f"{lines[0]} is missing"
    return lines[1] if lines[0].startswith("Error(s)") and len(lines) > 1 else lines[0]


def evaluation_batches(images: Images, description: str) -> Iterable[Tensor]:
    """Yield the images in their order, [B, C, H, W], with a progress display."""
    return (images.at(indices) for indices in progress(in_order(images), description))


MAX_SIDE = 4096  # pixels; an untrusted file could name a size that fills the memory


def shape_of(value: Any) -> Shape:
    """Check the shape (C, H, W) of the images that a network was trained on. Raises ValueError."""
    try:
        channels, height, width = value
    except TypeError:
        raise ValueError(f"shape={value!r}: must be [channels, height, width]") from None
    # The type is compared, as isinstance accepts True as an int.
    if any(type(side) is not int or side < 1 for side in value):
        raise ValueError(f"shape={value!r}: must be [channels, height, width]")
    if max(height, width) > MAX_SIDE:
        raise ValueError(f"shape={value!r}: at most {MAX_SIDE}×{MAX_SIDE} pixels are read")
    if channels * height * width > 3 * MAX_SIDE**2:
        raise ValueError(f"shape={value!r}: at most {3 * MAX_SIDE**2} values an image are read")
    return channels, height, width
