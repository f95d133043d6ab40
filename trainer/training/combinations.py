"""Combinations of techniques and settings that cannot be trained, found when their parts are built."""

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainer.config.run_config import RunConfig
from trainer.errors import ConfigError
from trainer.techniques.scheduler import LRFunction, MomentumLR, ObservingLR, StatefulLR
from trainer.training.optimizer_state import can_capture, momentum_key, scales_gradients


def refuse_no_rate(config: RunConfig, optimizer: Optimizer) -> None:
    """Raise ConfigError for an optimizer with a parameter group that has no rate for the schedule to set."""
    if not all("lr" in group for group in optimizer.param_groups):
        raise ConfigError(
            f"optimizer={config.optimizer.name} has a parameter group without lr, which the schedule sets"
        )


def refuse_unfit_rule(config: RunConfig, rule: LRFunction, optimizer: Optimizer) -> None:
    """Raise ConfigError for a schedule that would forget its memory, or set a momentum that does not exist."""
    name = f"scheduler={config.scheduler.name}"
    if isinstance(rule, ObservingLR) and not isinstance(rule, StatefulLR):
        raise ConfigError(
            f"{name} has observe and not state_dict and load_state_dict: a run that continues would have forgotten"
            " what it has observed"
        )
    if not isinstance(rule, MomentumLR):
        return
    if config.cuda_graph:
        raise ConfigError(f"cuda_graph=true does not go with {name}, which sets the momentum of each step")
    if not any(map(momentum_key, optimizer.param_groups)):
        raise ConfigError(
            f"{name} sets the momentum of each step, and optimizer={config.optimizer.name} has none: choose one whose"
            " parameter groups have momentum above 0, or betas"
        )


def refuse_uncapturable(config: RunConfig, optimizer: Optimizer, device: torch.device) -> None:
    """Raise ConfigError if a step of this run cannot be captured as a CUDA graph."""
    reason = None
    if device.type != "cuda":
        reason = f"needs a CUDA GPU, the device of this run is {device}"
    elif config.on_nonfinite != "stop":
        reason = f"needs on_nonfinite=stop: {config.on_nonfinite} reads the loss from the GPU in every step"
    elif not all(can_capture(group) and isinstance(group["lr"], Tensor) for group in optimizer.param_groups):
        reason = f"does not go with optimizer={config.optimizer.name}, whose step reads values from the GPU"
    elif config.precision == "fp16" and not scales_gradients(optimizer):
        reason = f"does not go with optimizer={config.optimizer.name} and precision=fp16; precision=bf16 does"
    if reason:
        raise ConfigError(f"cuda_graph=true {reason}")
