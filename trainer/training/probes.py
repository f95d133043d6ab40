"""Parts of others' code tried on two images when a run is built: networks and losses must return what is expected."""

from contextlib import AbstractContextManager

import torch
from torch import Generator, Tensor, nn

from trainer.config.own_import import described, place_of
from trainer.config.run_config import RunConfig
from trainer.config.schema import Choice
from trainer.data.loader import DeviceLoader
from trainer.errors import ConfigError, OneLineError
from trainer.runtime.memory import is_out_of_memory
from trainer.techniques.hooks import Augment
from trainer.techniques.loss import Loss
from trainer.training.blame import line_of
from trainer.training.network import foreign

IMAGES = 2


def refuse_wrong_output(config: RunConfig, model: nn.Sequential, train: DeviceLoader) -> None:
    """Raise ConfigError unless an own preprocessing keeps the shape, and a model of others' returns logits [N, K]."""
    images, _ = _first(train)
    if config.preprocessing.own:
        _refuse_other_than(list(images.shape), config, "preprocessing", model[0], images)
    if foreign(config):
        _refuse_other_than([len(images), len(train.images.classes)], config, "model", model, images)


def _refuse_other_than(expected: list[int], config: RunConfig, group: str, part: nn.Module, images: Tensor) -> None:
    """Raise ConfigError unless a part of the network returns floats of this shape, in evaluation mode."""
    choice: Choice = getattr(config, group)
    name, file = f"{group}={choice.name}", choice.own.groups[group].shown if choice.own else "timm"
    try:
        with _undisturbed(images.device), torch.no_grad():
            result: object = part.eval()(images)
    except OneLineError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise ConfigError(line_of(error, config) or f"{file}: {name}: {described(error)}") from error
    finally:
        part.train()
    if not isinstance(result, Tensor) or list(result.shape) != expected or not result.is_floating_point():
        count = f"{len(images)} images" if len(images) > 1 else "1 image"
        raise ConfigError(f"{file}: {name} returned {_form(result)} for {count}, where {expected} is expected")


def refuse_unmixable(config: RunConfig, loss: Loss | None, augment: Augment | None, train: DeviceLoader) -> None:
    """Raise ConfigError if the augmentation mixes images and an own loss fails on the labels [N, K] of these."""
    own = config.loss.own
    if loss is None or own is None or augment is None:
        return
    images, labels = _first(train)
    try:
        with _undisturbed(images.device):
            _, labels = augment(images, labels, Generator(images.device).manual_seed(0))
    except Exception:  # of the augmentation, perhaps because two images are few: the training tells it if it is one
        return
    if labels.ndim != 2:
        return
    logits = torch.zeros(labels.shape, device=labels.device, requires_grad=True)
    try:
        value: object = loss(logits, labels)
        problem = "" if isinstance(value, Tensor) and not value.ndim else f"it returned {_form(value)}"
    except Exception as error:
        cause = error.__cause__ or error
        problem = f"{described(cause)} ({place_of(cause, own) or own.groups['loss'].shown})"
    if problem:
        names = ", ".join(each.name for each in config.augmentation)
        raise ConfigError(
            f"loss={config.loss.name} does not go with augmentation=[{names}], which mixes images, so that the labels"
            f" are shares [N, K]: {problem}. Let the loss take them, as torch's cross_entropy does, or mix no images"
        )


def _first(train: DeviceLoader) -> tuple[Tensor, Tensor]:
    return train.at(torch.arange(min(IMAGES, len(train.labels)), device=train.labels.device))


def _undisturbed(device: torch.device) -> AbstractContextManager[None]:
    """Return a context that leaves torch's global generators as they are."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def _form(value: object) -> str:
    if not isinstance(value, Tensor):
        return "None" if value is None else f"a {type(value).__name__}"
    kind = "" if value.is_floating_point() else f" of {value.dtype}"
    return f"{list(value.shape)}{kind}"
