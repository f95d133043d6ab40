"""The state of an optimizer in a checkpoint, and the options that depend on the device instead of the run."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

# They select how a step is computed, not its result, and belong to the device: a checkpoint does not set them.
DEVICE_OPTIONS = ("fused", "capturable")


def adapt_to_device(optimizer: Optimizer, device: torch.device) -> None:
    """Let the optimizer of a network on a GPU take the form that a CUDA graph can capture.

    This is done with and without `cuda_graph`, so that both compute the same bits: a rate on the device is float32,
    while a Python number is float64.
    """
    if device.type == "cuda":
        make_capturable(optimizer, device)


def make_capturable(optimizer: Optimizer, device: torch.device) -> None:
    """Let the optimizer's step read nothing from the device, if torch has such a form of it; its rate lies there."""
    rate = torch.zeros((), device=device)  # one for all groups: a schedule writes it once
    for group in optimizer.param_groups:
        if "capturable" in group:
            group["capturable"] = True
        elif isinstance(optimizer, SGD):
            # The unfused step would copy the rate to the host. Set here and not by the constructor, which would also
            # hand the gradient scaler's decision to the kernel: if the first step is skipped there, torch continues
            # with a momentum buffer that was never set.
            group["fused"] = True
        if can_capture(group):
            group["lr"] = rate
    no_capturable_warning(optimizer)


def no_capturable_warning(optimizer: Optimizer) -> None:
    """Keep torch from warning of capturable=True in eager steps, because some optimizers are a little slower so."""
    optimizer._warned_capturable_if_run_uncaptured = True


def can_capture(group: Mapping[str, Any]) -> bool:
    """Return whether the step of a parameter group reads nothing from the device."""
    return bool(group.get("fused") or group.get("capturable"))


def scales_gradients(optimizer: Optimizer) -> bool:
    """Return whether the step itself skips fp16 gradients that overflowed; otherwise the host has to decide."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))


def portable_state(optimizer: Optimizer) -> dict[str, Any]:
    """Return the optimizer's state, in which the learning rate is a plain number."""
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        group["lr"] = float(group["lr"])
    return state


def load_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Restore a state from `portable_state`, also of another device."""
    groups = copy.copy(state["param_groups"])
    for number, current in enumerate(optimizer.param_groups):
        # torch would replace all options by those of the file. Three kinds keep their current value: those of the
        # device, a rate on the device, and options that are off: some versions of torch store them as None, others as
        # False, and a fused step fails with the wrong one.
        kept = [key for key, value in current.items() if key in DEVICE_OPTIONS or value is None or value is False]
        kept += ["lr"] if isinstance(current["lr"], Tensor) else []
        groups[number] = {**groups[number], **{key: current[key] for key in kept}}
    optimizer.load_state_dict({**state, "param_groups": groups})
    _order_axes(optimizer)


def _order_axes(optimizer: Optimizer) -> None:
    """Give the optimizer's state the memory layout of its parameters, such as channels last.

    A checkpoint stores tensors contiguously, and a fused step reads parameter and state in memory order.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
