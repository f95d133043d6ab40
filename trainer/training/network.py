"""Build the network of a run: for training from its images, or without them for the weights of a file."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from trainer.config.run_config import RunConfig
from trainer.data.images import Images, Shape
from trainer.errors import ConfigError
from trainer.runtime.memory import gigabytes, physical_memory
from trainer.runtime.seeding import derive
from trainer.techniques.layers import PatchWhitening, Slots
from trainer.techniques.networks.reweighting import normalize_marked, start_reweightings

WHITENING_IMAGES = 2000  # their 1.8 million patches of 3×3 determine 27 variances to a part in a thousand


def build_model(config: RunConfig, images: Images) -> nn.Sequential:
    """Return the network, initialized from the run's seed, behind the preprocessing of its training images."""
    _refuse_too_large(config, images)
    return first_network(config, images)


def first_network(config: RunConfig, images: Images, preprocessing: nn.Module | None = None) -> nn.Sequential:
    """Return the same as `build_model`; `preprocessing`: one that these images have determined before."""
    # Seeded just before the layers draw their weights, so that nothing built earlier changes them.
    torch.manual_seed(derive(config.seed, "init"))
    model = build_network(config, images.shape, images.classes)
    if preprocessing is not None:
        model[0] = copy.deepcopy(preprocessing).cpu()
    elif fit := getattr(model[0], "fit", None):
        with torch.no_grad():
            fit(images)
    initialize, gain = config.init.function(), config.activation.function()().gain
    model.eval()  # the images pass without noise
    finish = None
    for layer in model[1].modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            result = initialize(layer, gain)
            finish = result if callable(result) and not isinstance(result, nn.Module) else finish
        if isinstance(layer, PatchWhitening):
            layer.fit(model[0](pixels.cpu()) for pixels in _sample(images))
    start_reweightings(model)
    if finish:  # one for the whole network
        finish(model, (pixels.cpu() for pixels in _sample(images)))
        start_reweightings(model)
    return model.train()


def _sample(images: Images) -> Iterator[Tensor]:
    """Yield the pixels of some images, in parts."""
    for positions in images.spread(WHITENING_IMAGES).split(16):  # few: a pixel has a patch of 27 numbers
        yield images.at(positions)


def _refuse_too_large(config: RunConfig, images: Images) -> None:
    """Raise ConfigError if the weights do not fit into the memory."""
    try:
        network = _on_meta(config, images.shape, images.classes)
        if network is None:
            return
        needed = _bytes_of(network)
    except (RuntimeError, OverflowError, TypeError) as error:
        if "overflow" not in str(error).lower() and not isinstance(error, OverflowError):
            raise  # a mistake in the code of the model
        needed = None  # the size does not fit into 64 bits
    _refuse_larger_than_memory(config, needed)


def _bytes_of(network: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))


def _refuse_larger_than_memory(config: RunConfig, needed: int | None) -> None:
    """Raise ConfigError for more bytes than the memory has; None stands for more than can be counted."""
    memory = physical_memory()
    if needed is None or needed > memory:
        size = "more bytes than can be counted" if needed is None else gigabytes(needed)
        raise ConfigError(f"model={config.model.name} needs {size} for its weights, the memory is {gigabytes(memory)}")


def foreign(config: RunConfig) -> bool:
    """Return whether the code of the model is not of this program, but one's own or that of a library."""
    return config.model.own is not None or config.model.name == "timm"


def build_network(config: RunConfig, shape: Shape, classes: tuple[str, ...]) -> nn.Sequential:
    """Return preprocessing and network before initialization, for images of `shape` (C, H, W).

    With the changes of its layers by normalization and regularization, which belong to what a trained network computes.
    """
    network, _ = _assembled(config, shape, classes)
    normalize_marked(network)
    for choice in config.regularization:
        if choice.changes_network:
            choice.function()(network)
    return network


def ignored_slots(config: RunConfig, images: Images) -> tuple[str, ...]:
    """Return the settings among activation, normalization and dropout that the run's model has no place for."""
    # On "meta" it is a matter of milliseconds, but code of one's own may need values.
    device = torch.device("cpu" if config.model.own or config.preprocessing.own else "meta")
    with torch.random.fork_rng(devices=[]), device:  # building draws weights: the caller's generator stays as it is
        _, slots = _assembled(config, images.shape, images.classes)
    return tuple(name for name in Slots.NAMES if name not in slots.used)


def network_to_load(config: RunConfig, shape: Shape, classes: tuple[str, ...]) -> nn.Sequential:
    """Return the network that the weights of a file are to be assigned to, on torch's "meta" device.

    With the code of others it is built on the CPU, if its weights fit there: it may have values that no file holds.
    """
    network = _on_meta(config, shape, classes)
    if network is not None and not _of_others(config):
        return network
    if network is not None:
        _refuse_larger_than_memory(config, _bytes_of(network))
    return build_network(config, shape, classes)


def _of_others(config: RunConfig) -> bool:
    """Return whether code that is not of this program takes part in building the network."""
    changes = [choice for choice in config.regularization if choice.changes_network]
    return foreign(config) or any(choice.own is not None for choice in (config.preprocessing, *changes))


def _on_meta(config: RunConfig, shape: Shape, classes: tuple[str, ...]) -> nn.Sequential | None:
    try:
        with torch.device("meta"):
            return build_network(config, shape, classes)
    except (RuntimeError, NotImplementedError, ConfigError) as error:
        if not _of_others(config) or "overflow" in str(error).lower():
            raise
        return None


def _assembled(config: RunConfig, shape: Shape, classes: tuple[str, ...]) -> tuple[nn.Sequential, Slots]:
    slots = Slots(config.activation.function()(), config.normalization.function(), config.dropout)
    network = config.model.function()(shape, classes, slots)
    return nn.Sequential(config.preprocessing.function()(shape), network), slots
