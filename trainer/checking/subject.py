"""An own technique that is checked, and short runs with it: a few digits, the trainer's own code."""

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from trainer.config.compose import interpret
from trainer.config.own import OwnTechniques
from trainer.config.own_import import described, place_of
from trainer.config.run_config import RunConfig
from trainer.config.schema import GROUPS, Choice, OwnFunction
from trainer.data.images import Images
from trainer.data.loader import load
from trainer.errors import ConfigError, RunError, reason_of
from trainer.runtime.files import expanded
from trainer.training.build import build_trainer, pick_device
from trainer.training.epoch import EpochReport
from trainer.training.network import build_model
from trainer.training.trainer import ClassificationTrainer

# The run around the technique.
BASE = (
    *("dataset=digits", "dataset.image_size=16", "batch_size=16", "early_stop_patience=null"),
    *("wandb.mode=disabled", "model=lecture_cnn", "model.channels=[4,8]", "model.hidden=16"),
)
STEPS = 6  # in an epoch, in the middle of which a run is stopped; half as many for a model, which may be slow
VALIDATION_IMAGES = 40
MODEL_SIZES = (16, 32, 8)  # pixels; the first that a model takes


class CheckError(Exception):
    """A check has failed; the message is one sentence: what was seen, and what is expected."""


def fail(sentence: str) -> NoReturn:
    """Let a check fail with this sentence."""
    raise CheckError(sentence)


def told(subject: "Subject", error: Exception) -> str:
    """Return the sentence for an error in a check: of one of torch or Python its type, and the line of the own file."""
    if isinstance(error, CheckError):
        return str(error)
    if isinstance(error, ConfigError | RunError | OSError):
        return reason_of(error)
    place = place_of(error, subject.own)
    return f"{described(error)}{f' ({place})' if place else ''}"


@dataclass(frozen=True)
class Subject:
    """A function of an own file, and the run that it is tried in.

    `settings`: as typed for a training. `test_part`: also read the test part of a data set.
    """

    group: str
    name: str
    own: OwnTechniques
    function: OwnFunction
    settings: tuple[str, ...] = ()
    device: torch.device = field(default_factory=lambda: pick_device("cpu"))
    test_part: bool = False

    @cached_property
    def config(self) -> RunConfig:
        """The run. Raises ConfigError for settings that do not suit it."""
        if self.group == "model" and not any(text.startswith("dataset") for text in self.settings):
            for size in MODEL_SIZES:
                config = composed(self.group, self.name, (*self.settings, f"dataset.image_size={size}"))
                # Whatever a model raises for a size that it does not take; a check tells it if it takes none.
                with contextlib.suppress(Exception), torch.no_grad():
                    images = parts_of(config, self.device, 1)[0]
                    build_model(config, images).to(self.device).eval()(images.storage[:2])
                    return config
        return composed(self.group, self.name, self.settings)

    @property
    def choice(self) -> Choice:
        """The technique with its options."""
        chosen = getattr(self.config, self.group)
        found: Choice = chosen[0] if isinstance(chosen, tuple) else chosen
        return found

    @cached_property
    def parts(self) -> tuple[Images, Images]:
        """A few training and validation images."""
        return parts_of(self.config, self.device, STEPS // 2 if self.group == "model" else STEPS)

    @cached_property
    def undisturbed(self) -> dict[str, Any]:
        """The end of a run: all figures and all state, by path."""
        return ended(self.exact_trainer, 1)

    def exact_trainer(self) -> ClassificationTrainer:
        """Return the trainer of a run whose bits are promised: on a GPU they are so with deterministic=true alone."""
        return self.trainer(deterministic=self.config.deterministic or self.device.type != "cpu")

    def trainer(self, channels: int = 0, **changes: Any) -> ClassificationTrainer:
        """Return the trainer of the run, with other settings if some are named, and with so many channels if not 0."""
        training, validation = (of_channels(part, channels) if channels else part for part in self.parts)
        return build_trainer(self.config.model_copy(update=changes), training, validation, self.device)


def composed(group: str, name: str, settings: Sequence[str] = ()) -> RunConfig:
    """Return the checked run with a technique and further settings, which go before those of `BASE`."""
    given = {text.partition("=")[0] for text in settings}
    epochs = 2 if group == "model" else 3
    base = [(text, text.partition("=")[0]) for text in (*BASE, f"epochs={epochs}")]
    base = [(text, key) for text, key in base if key not in given and not {key.partition(".")[0]} & {*given, group}]
    chosen = f"{group}=[{name}]" if GROUPS[group].listed else f"{group}={name}"
    config = interpret([*(text for text, _ in base), chosen, *settings])
    assert isinstance(config, RunConfig)
    return config


def parts_of(config: RunConfig, device: torch.device, steps: int) -> tuple[Images, Images]:
    """Return the training images of so many steps, and a few validation images, with pixels of their own."""
    images = load(config.dataset, expanded(config.data_dir), device)
    training, validation = config.dataset.shared_function()(images, config.split_seed)
    return _few(training, steps * config.batch_size), _few(validation, VALIDATION_IMAGES)


def _few(images: Images, count: int) -> Images:
    positions = images.spread(count)
    return Images(images.at(positions), images.labels[positions], images.classes)


def of_channels(images: Images, channels: int) -> Images:
    """Return the images with this number of channels, each of which is the first one turned by a quarter more."""
    turned = [images.storage[:, 0].rot90(number, (1, 2)) for number in range(channels)]
    square = images.shape[1] == images.shape[2]
    pixels = turned if square else [images.storage[:, 0]] * channels
    return Images(torch.stack(pixels, 1), images.labels, images.classes)


@contextlib.contextmanager
def stirred(seed: int) -> Iterator[Callable[[], list[str]]]:
    """Set the global random generators of Python, NumPy and torch in the block, and set them back after it.

    Yields a function that names those that have been drawn from since.
    """
    before = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            start = _generators()
            yield lambda: [name for name, state in _generators().items() if state != start[name]]
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def _generators() -> dict[str, Any]:
    numpy: Any = np.random.get_state()
    return {
        "random": random.getstate(),
        "numpy.random": (numpy[1].tobytes(), *numpy[2:]),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }


def take_steps(trainer: ClassificationTrainer, count: int) -> None:
    """Train for so many steps of the first epoch."""
    done = iter(range(1, count))

    def over() -> bool:
        """Return whether that was the last one."""
        return next(done, None) is None

    trainer.do_train(over)


def weights_of(trainer: ClassificationTrainer) -> dict[str, Tensor]:
    """Return a copy of the parameters by name."""
    return {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}


def moved(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """Return the distance between two sets of parameters, as a share of the size of the first."""
    total = sum(float((after[name].double() - value.double()).square().sum()) for name, value in before.items())
    size = sum(float(value.double().square().sum()) for value in before.values())
    return float((total / size) ** 0.5) if size else float(total > 0)


def leaves(tree: Any, path: str = "") -> dict[str, Any]:
    """Return the values of a nested state by their path."""
    if isinstance(tree, Mapping):
        pairs = [(str(key), value) for key, value in tree.items()]
    elif isinstance(tree, list | tuple):
        pairs = [(str(number), value) for number, value in enumerate(tree)]
    else:
        return {path: tree}
    return {name: leaf for key, value in pairs for name, leaf in leaves(value, f"{path}.{key}".lstrip(".")).items()}


def first_difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """Return the path of the first value that differs in its bits, None if all are equal."""
    for name in [*one, *(each for each in other if each not in one)]:
        if name not in one or name not in other or not _equal(one[name], other[name]):
            return name
    return None


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and (one == other or str(one) == str(other) == "nan")


def ended(build: Callable[[], ClassificationTrainer], seed: int) -> dict[str, Any]:
    """Return the end of a run, while the global generators begin from this seed."""
    with stirred(seed):
        trainer = build()
        reports = [figures(report) for report in trainer.train_loop() if report]
        return state_of(trainer, reports)


def state_of(trainer: ClassificationTrainer, reports: list[tuple[Any, ...]]) -> dict[str, Any]:
    """Return the state of a trainer and the figures of its epochs, by path."""
    state = {key: value for key, value in trainer.state_dict().items() if key != "progress"}
    return leaves({**state, "evaluated": trainer.evaluated.state_dict(), "metrics": reports})


def figures(report: EpochReport) -> tuple[Any, ...]:
    """Return what an epoch reports but its times."""
    values = vars(report)
    return tuple(value for name, value in values.items() if name not in ("epoch_seconds", "images_per_second"))
