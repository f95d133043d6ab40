"""Build a trainer from a checked configuration: network, optimizer, schedule, techniques."""

import functools
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainer.config.run_config import RunConfig
from trainer.config.schema import Choice
from trainer.data.images import Images
from trainer.data.loader import DeviceLoader, statistics
from trainer.errors import ConfigError
from trainer.runtime.console import warn
from trainer.runtime.memory import gigabytes, physical_memory
from trainer.runtime.seeding import derive
from trainer.techniques.hooks import Augment, StepHooks, join
from trainer.techniques.layers import AuxiliaryLoss, InputScaling, PatchWhitening, Slots, weights
from trainer.training.blame import own_errors_told
from trainer.training.combinations import refuse_closure, refuse_no_rate, refuse_uncapturable, refuse_unfit_rule
from trainer.training.early_stopping import EarlyStopping
from trainer.training.lr_schedule import Schedule
from trainer.training.measures import other_loss
from trainer.training.optimizer_state import adapt_to_device, needs_closure
from trainer.training.options import TrainerOptions, Watch, unwatched
from trainer.training.probes import refuse_unmixable, refuse_wrong_output
from trainer.training.trainer import ClassificationTrainer

WHITENING_IMAGES = 2000  # their 1.8 million patches of 3×3 determine 27 variances to a part in a thousand


def pick_device(name: str) -> torch.device:
    """Return the device of this name; "auto" is the GPU if there is one. Raises ConfigError if it does not exist."""
    # cuBLAS reads this at its first call in a process, which may be for an earlier run of a study: so it is set for
    # every run, though only deterministic=true needs it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    available = ["cpu", *(["cuda", *cuda] if cuda else []), *mps]
    if name not in available:
        raise ConfigError(f"device={name} is not on this machine. Accepted here: auto, {', '.join(available)}")
    return device


def build_model(config: RunConfig, images: Images) -> nn.Module:
    """Return the network, initialized from the run's seed, behind a layer that scales its input."""
    _refuse_too_large(config, images)
    return first_network(config, images, *statistics(images))


def first_network(config: RunConfig, images: Images, mean: Tensor, std: Tensor) -> nn.Module:
    """Return the same as `build_model`, given the mean and standard deviation [C] of the images."""
    # Seeded just before the layers draw their weights, so that nothing built earlier changes them.
    torch.manual_seed(derive(config.seed, "init"))
    model = build_network(config, images.shape, images.classes, mean, std)
    initialize, gain = config.init.function(), config.activation.function()().gain
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            initialize(layer, gain)
        if isinstance(layer, PatchWhitening):
            layer.fit(model[0](pixels.cpu()) for pixels in _sample(images))
    return model


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


def build_network(
    config: RunConfig, shape: tuple[int, int, int], classes: tuple[str, ...], mean: Tensor, std: Tensor
) -> nn.Sequential:
    """Return the network before initialization, for images of `shape` (C, H, W) with these `mean` and `std` [C]."""
    return _assembled(config, shape, classes, mean, std)[0]


def ignored_slots(config: RunConfig, images: Images) -> tuple[str, ...]:
    """Return the settings among activation, normalization and dropout that the run's model has no place for."""
    channels = torch.ones(images.shape[0])
    with torch.random.fork_rng(devices=[]):  # building draws weights: the caller's generator stays as it is
        _, slots = _assembled(config, images.shape, images.classes, channels, channels)
    return tuple(name for name in Slots.NAMES if name not in slots.used)


def network_to_load(config: RunConfig, shape: tuple[int, int, int], classes: tuple[str, ...]) -> nn.Sequential:
    """Return the network that the weights of a file are to be assigned to, on torch's "meta" device.

    An own model is built on the CPU, if its weights fit there: it may have values that no file holds.
    """
    network = _on_meta(config, shape, classes)
    if network is not None and config.model.own is None:
        return network
    if network is not None:
        _refuse_larger_than_memory(config, _bytes_of(network))
    channels = torch.ones(shape[0])
    return build_network(config, shape, classes, channels, channels)


def _on_meta(config: RunConfig, shape: tuple[int, int, int], classes: tuple[str, ...]) -> nn.Sequential | None:
    channels = torch.empty(shape[0], device="meta")
    try:
        with torch.device("meta"):
            return build_network(config, shape, classes, channels, channels)
    except (RuntimeError, NotImplementedError, ConfigError) as error:
        if config.model.own is None or "overflow" in str(error).lower():
            raise
        return None


def _assembled(
    config: RunConfig, shape: tuple[int, int, int], classes: tuple[str, ...], mean: Tensor, std: Tensor
) -> tuple[nn.Sequential, Slots]:
    slots = Slots(config.activation.function()(), config.normalization.function(), config.dropout)
    network = config.model.function()(shape, classes, slots)
    return nn.Sequential(InputScaling(mean, std, *shape[1:]), network), slots


def parameter_groups(model: nn.Module, weight_decay: float, scope: str) -> list[dict[str, Any]]:
    """Return groups of decayed and undecayed parameters, as pairs of the name in the network's state and the parameter.

    Biases and normalization only decay if the scope is "all".
    """
    named = list(model.named_parameters())
    decayed_ids = set(map(id, model.parameters() if scope == "all" else weights(model)))  # `in` compares the values
    decayed = [(name, parameter) for name, parameter in named if id(parameter) in decayed_ids]
    undecayed = [(name, parameter) for name, parameter in named if id(parameter) not in decayed_ids]
    groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": weight_decay}]
    return [*groups, {"params": undecayed, "weight_decay": 0.0}] if undecayed else groups


def build_optimizer(config: RunConfig, groups: list[dict[str, Any]]) -> Optimizer:
    """Return the optimizer of these parameter groups."""
    optimizer: Optimizer = config.optimizer.function()(groups, config.lr, config.weight_decay)
    return optimizer


def _builder(config: RunConfig, groups: list[dict[str, Any]]) -> Callable[[], Optimizer]:
    """Return a function that builds the same optimizer for weights of zero on the CPU."""
    # It keeps no weight itself, so that a run that is over gives back their memory.
    forms = [
        {**group, "params": [(name, each.shape, each.dtype, each.requires_grad) for name, each in group["params"]]}
        for group in groups
    ]

    def build() -> Optimizer:
        """Build it anew."""
        zeros = [
            {
                **form,
                "params": [
                    (name, nn.Parameter(torch.zeros(shape, dtype=dtype), trained))
                    for name, shape, dtype, trained in form["params"]
                ],
            }
            for form in forms
        ]
        return build_optimizer(config, zeros)

    return build


def build_trainer(
    config: RunConfig, training: Images, validation: Images | None, device: torch.device, watch: Watch = unwatched
) -> ClassificationTrainer:
    """Return the trainer of a configuration, with its network and data on the device.

    Raises ConfigError with one line for a mistake in an own technique.
    """
    with own_errors_told(config):
        return _built(config, training, validation, device, watch)


def _built(
    config: RunConfig, training: Images, validation: Images | None, device: torch.device, watch: Watch
) -> ClassificationTrainer:
    train = DeviceLoader(training, config.batch_size, device)
    if len(training) < config.batch_size:
        warn(f"batch_size={config.batch_size} is more than the {len(training)} training images: one step per epoch")
    model = build_model(config, training).to(device)  # drawn on the CPU: one seed, the same weights on every device
    refuse_wrong_output(config, model, train)
    groups = parameter_groups(model, config.weight_decay, config.weight_decay_scope)
    build_again = _builder(config, groups)  # before torch changes the groups
    optimizer = build_optimizer(config, groups)
    refuse_no_rate(config, optimizer)
    if needs_closure(optimizer):
        refuse_closure(config)
    adapt_to_device(optimizer, device)
    build_rule, warm_up = config.scheduler.function(), config.scheduler.shared_function()
    rule, warmup_steps = warm_up(build_rule, config.lr, config.epochs, len(train))
    refuse_unfit_rule(config, rule, optimizer)
    if config.cuda_graph:
        refuse_uncapturable(config, optimizer, device)
    schedule = Schedule(optimizer, rule, len(train), warmup_steps)
    augments = _scaled(training, [_augment(each.function(), len(training.classes)) for each in config.augmentation])
    hooks = join([*(StepHooks(augment=augment) for augment in augments), *build_hooks(config, model)])
    loss = other_loss(config.loss, len(training.classes))
    refuse_unmixable(config, loss, hooks.augment, train)
    options = TrainerOptions(
        epochs=config.epochs,
        seed=config.seed,
        hooks=hooks,
        loss=loss,
        metrics={choice.name: choice.function() for choice in config.metric},
        validate_every=config.validate_every,
        early_stopping=EarlyStopping(config.early_stop_patience, config.early_stop_min_delta),
        precision=config.precision,
        deterministic=config.deterministic,
        cuda_graph=config.cuda_graph,
        on_nonfinite=config.on_nonfinite,
        watch=watch,
        build_optimizer=build_again,
    )
    validation_loader = None if validation is None else DeviceLoader(validation, config.batch_size, device)
    trainer = ClassificationTrainer(model, optimizer, schedule, train, validation_loader, options)
    if config.compile:
        _compile(model, device, config.cuda_graph)
    return trainer


def build_hooks(config: RunConfig, model: nn.Module) -> list[StepHooks]:
    """Return the hooks of the regularization, and of the layers that have a loss of their own."""
    parts = [part for part in model.children() if isinstance(part, AuxiliaryLoss)]
    auxiliary = [StepHooks(penalty=_auxiliary(part, config.loss)) for part in parts]
    return [*(choice.function()(model) for choice in config.regularization), *auxiliary]


def _compile(model: nn.Module, device: torch.device, whole_step: bool) -> None:
    """Compile the network in place, which keeps the names of its weights. Raises ConfigError without a compiler.

    On a GPU the forward and backward passes are replayed as CUDA graphs ("reduce-overhead"), unless the whole step is
    one.
    """
    if device.type == "cpu" and not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++"))):
        raise ConfigError("compile=true needs a C++ compiler on the path: g++ or clang++, or the one that CXX names")
    # torch counts compilations over all networks of a process and from the ninth on silently compiles no more, so that
    # later arms of a study would run uncompiled. A run needs four: full and last batches, in training and validation.
    torch.compiler.reset()
    model.compile(mode="reduce-overhead" if device.type == "cuda" and not whole_step else None, dynamic=False)


def _auxiliary(network: AuxiliaryLoss, choice: Choice) -> Callable[[Tensor, Tensor], Tensor]:
    loss = functools.cache(choice.function)  # called in training alone: a network is evaluated without its loss
    return lambda _logits, labels: network.auxiliary_loss(labels, loss())


def _augment(function: Callable[..., tuple[Tensor, Tensor]], classes: int) -> Augment:
    return lambda images, labels, generator: function(images, labels, classes, generator)


def _scaled(images: Images, augments: list[Augment]) -> list[Augment]:
    """Return the augmentations, which take bytes or floats from 0 to 1, for images of any range.

    Floats are mapped from the range of the training images to 0 … 1 before the first and back after the last one.
    """
    if images.are_bytes or not augments:
        return augments
    low, high = images.value_range
    span = (high - low) or 1.0
    return [
        lambda pixels, labels, _: ((pixels - low) / span, labels),
        *augments,
        lambda pixels, labels, _: (pixels * span + low, labels),
    ]
