"""Build a trainer from a checked configuration: network, optimizer, schedule, techniques."""

import functools
import os
import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainer.config.run_config import RunConfig
from trainer.config.schema import Choice
from trainer.data.images import Images
from trainer.data.loader import DeviceLoader
from trainer.errors import ConfigError
from trainer.runtime.console import warn
from trainer.techniques.closures import refuse_closure
from trainer.techniques.hooks import Augment, StepHooks, join
from trainer.techniques.layers import weights
from trainer.techniques.networks.joint_networks import AuxiliaryLoss
from trainer.training.blame import own_errors_told
from trainer.training.combinations import refuse_no_rate, refuse_uncapturable, refuse_unfit_rule
from trainer.training.early_stopping import EarlyStopping
from trainer.training.lr_schedule import Schedule
from trainer.training.measures import built_metrics, other_loss
from trainer.training.network import build_model
from trainer.training.optimizer_state import adapt_to_device, needs_closure
from trainer.training.options import TrainerOptions, Watch, unwatched
from trainer.training.probes import refuse_unmixable, refuse_wrong_output
from trainer.training.trainer import ClassificationTrainer


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
        metrics=built_metrics(config.metric, len(training.classes)),
        validate_every=config.validate_every,
        split_seed=config.split_seed,
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
    """Return the hooks of the regularization, and of the layers that have a loss of their own.

    Regularizations that change the network itself have none: `build_network` applies them, once.
    """
    parts = [part for part in model.children() if isinstance(part, AuxiliaryLoss)]
    auxiliary = [StepHooks(penalty=_auxiliary(part, config.loss)) for part in parts]
    acting = [choice for choice in config.regularization if not choice.changes_network]
    return [*(choice.function()(model) for choice in acting), *auxiliary]


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
