"""Puts the parts of one run together: network, optimizer, schedule, techniques, trainer."""

import os
import shutil
from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainer.config.run_config import RunConfig
from trainer.data.images import Images
from trainer.data.loader import DeviceLoader, statistics
from trainer.errors import ConfigError
from trainer.runtime.console import warn
from trainer.runtime.memory import gigabytes, physical_memory
from trainer.runtime.seeding import derive
from trainer.techniques.hooks import Augment, StepHooks, join
from trainer.techniques.layers import AuxiliaryLoss, InputScaling, Slots, weights
from trainer.training.early_stopping import EarlyStopping
from trainer.training.trainer import ClassificationTrainer, TrainerOptions, Watch, unwatched


def pick_device(name: str) -> torch.device:
    """The device that was asked for; "auto" takes the GPU where there is one. Raises ConfigError if it is absent."""
    # For deterministic=true. cuBLAS reads it at its first call in a process, of whichever run of a study that is.
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
    """The network, initialized from the run's seed, with the scaling of its input in front."""
    _refuse_too_large(config, images)
    return first_network(config, images, *statistics(images))


def first_network(config: RunConfig, images: Images, mean: Tensor, std: Tensor) -> nn.Module:
    """The same where mean and standard deviation [C] of the images are known already."""
    torch.manual_seed(derive(config.seed, "init"))
    model = build_network(config, images.shape, images.classes, mean, std)
    initialize, gain = config.init.function(), config.activation.function()().gain
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            initialize(layer, gain)
    return model


def _refuse_too_large(config: RunConfig, images: Images) -> None:
    """Before anything is allocated: built without memory, the network only says how much it needs."""
    nothing, memory = torch.empty(images.shape[0], device="meta"), physical_memory()
    try:
        with torch.device("meta"):
            network = build_network(config, images.shape, images.classes, nothing, nothing)
        needed = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
    except (RuntimeError, OverflowError, TypeError):  # so large that torch cannot write its size down
        needed = None
    if needed is None or needed > memory:
        much = "more bytes than can be counted" if needed is None else gigabytes(needed)
        raise ConfigError(f"model={config.model.name} needs {much} for its weights, the memory is {gigabytes(memory)}")


def build_network(
    config: RunConfig, shape: tuple[int, int, int], classes: tuple[str, ...], mean: Tensor, std: Tensor
) -> nn.Module:
    """The network before its initialization, for images of `shape` (C, H, W); `mean` and `std` [C] of its input."""
    slots = Slots(config.activation.function()(), config.normalization.function(), config.dropout)
    return nn.Sequential(InputScaling(mean, std, *shape[1:]), config.model.function()(shape, classes, slots))


def parameter_groups(model: nn.Module, weight_decay: float, scope: str) -> list[dict[str, object]]:
    """Decayed and undecayed parameters: only weights are decayed, unless the scope is "all"."""
    decayed = list(model.parameters()) if scope == "all" else weights(model)
    chosen = set(map(id, decayed))
    undecayed = [parameter for parameter in model.parameters() if id(parameter) not in chosen]
    groups: list[dict[str, object]] = [{"params": decayed, "weight_decay": weight_decay}]
    return [*groups, {"params": undecayed, "weight_decay": 0.0}] if undecayed else groups


def build_trainer(
    config: RunConfig, training: Images, validation: Images | None, device: torch.device, watch: Watch = unwatched
) -> ClassificationTrainer:
    """Everything of the configuration that acts on training, in one trainer."""
    train = DeviceLoader(training, config.batch_size, device)
    if len(training) < config.batch_size:
        warn(f"batch_size={config.batch_size} is more than the {len(training)} training images: one step an epoch")
    model = build_model(config, training).to(device)
    groups = parameter_groups(model, config.weight_decay, config.weight_decay_scope)
    optimizer = config.optimizer.function()(groups, config.lr, config.weight_decay)
    schedule = config.scheduler.shared_function()(
        config.scheduler.function(), optimizer, config.lr, config.epochs, len(train)
    )
    augments = [_augment(choice.function(), len(training.classes)) for choice in config.augmentation]
    options = TrainerOptions(
        epochs=config.epochs,
        seed=config.seed,
        hooks=join([*(StepHooks(augment=augment) for augment in augments), *build_hooks(config, model)]),
        validate_every=config.validate_every,
        early_stopping=EarlyStopping(config.early_stop_patience, config.early_stop_min_delta),
        precision=config.precision,
        deterministic=config.deterministic,
        on_nonfinite=config.on_nonfinite,
        watch=watch,
    )
    validation_loader = None if validation is None else DeviceLoader(validation, config.batch_size, device)
    trainer = ClassificationTrainer(model, optimizer, schedule, train, validation_loader, options)
    if config.compile:
        _compile(model, device)
    return trainer


def build_hooks(config: RunConfig, model: nn.Module) -> list[StepHooks]:
    """What acts on a step of this network besides the loss: its regularization, and losses of its own."""
    auxiliary = [StepHooks(penalty=_auxiliary(part)) for part in model.children() if isinstance(part, AuxiliaryLoss)]
    return [*(choice.function()(model) for choice in config.regularization), *auxiliary]


def _compile(model: nn.Module, device: torch.device) -> None:
    """In place, so that the names of the weights stay. On a GPU the network's forward and backward passes are replayed
    as captured graphs; gathering, augmentation, loss and optimizer stay outside of them."""
    if device.type == "cpu" and not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++"))):
        raise ConfigError("compile=true needs a C++ compiler on the path: g++ or clang++, or the one that CXX names")
    # torch counts compilations over all networks of a process, and beyond eight it leaves the next ones uncompiled in
    # silence: later arms of a study would be compared unlike. A run needs four: whole and last batches, both to train
    # and to validate.
    torch.compiler.reset()
    model.compile(mode="reduce-overhead" if device.type == "cuda" else None, dynamic=False)


def _auxiliary(network: AuxiliaryLoss) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda _logits, labels: network.auxiliary_loss(labels)


def _augment(function: Callable[..., tuple[Tensor, Tensor]], classes: int) -> Augment:
    return lambda images, labels, draw: function(images, labels, classes, draw)
