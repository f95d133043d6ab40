"""The state of an optimizer in a checkpoint, and the options that depend on the device instead of the run."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from trainer.errors import RunError

# They select how a step is computed, not its result, and belong to the device: a checkpoint does not set them.
DEVICE_OPTIONS = ("fused", "capturable")
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def adapt_to_device(optimizer: Optimizer, device: torch.device) -> None:
    """Let the optimizer of a network on a GPU take the form that a CUDA graph can capture.

    This is done with and without `cuda_graph`, so that both compute the same bits: a rate on the device is float32,
    while a Python number is float64.
    """
    if device.type == "cuda":
        make_capturable(optimizer, device)


def make_capturable(optimizer: Optimizer, device: torch.device) -> None:
    """Let the optimizer's step read nothing from the device, if torch has such a form of it; its rate lies there.

    The step of a class of one's own expects numbers, also if the class is derived from one of torch's.
    """
    if not type(optimizer).step.__module__.startswith("torch."):
        return
    rates: dict[float, Tensor] = {}  # one for all groups of the same `lr_scale`: a schedule writes it once
    for group in optimizer.param_groups:
        if "capturable" in group:
            group["capturable"] = True
        elif isinstance(optimizer, SGD):
            # The unfused step would copy the rate to the host. Set here and not by the constructor, which would also
            # hand the gradient scaler's decision to the kernel: if the first step is skipped there, torch continues
            # with a momentum buffer that was never set.
            group["fused"] = True
        if can_capture(group):
            group["lr"] = rates.setdefault(lr_scale(group), torch.zeros((), device=device))
    no_capturable_warning(optimizer)


def no_capturable_warning(optimizer: Optimizer) -> None:
    """Keep torch from warning of capturable=True in eager steps, because some optimizers are a little slower so."""
    optimizer._warned_capturable_if_run_uncaptured = True


def lr_scale(group: Mapping[str, Any]) -> float:
    """Return the factor on the schedule's rate that an optimizer has set for a parameter group."""
    return float(group.get("lr_scale", 1.0))


def momentum_key(group: Mapping[str, Any]) -> str | None:
    """Return which setting of a parameter group is its momentum, None if it has none or trains without."""
    return next((key for key in ("momentum", "betas") if group.get(key)), None)


def needs_closure(optimizer: Optimizer) -> bool:
    """Return whether the step computes gradients itself, with a closure that it requires (SAM, L-BFGS)."""
    parameters = inspect.signature(optimizer.step).parameters.values()
    return any(parameter.default is parameter.empty and parameter.kind in POSITIONAL for parameter in parameters)


def set_mode(optimizer: Optimizer, training: bool) -> bool:
    """Turn the weights into those to train or those to evaluate; return whether the optimizer tells them apart."""
    change = getattr(optimizer, "train" if training else "eval", None)
    if change is None:
        return False
    change()
    return True


def can_capture(group: Mapping[str, Any]) -> bool:
    """Return whether the step of a parameter group reads nothing from the device."""
    return bool(group.get("fused") or group.get("capturable"))


def scales_gradients(optimizer: Optimizer) -> bool:
    """Return whether the step itself skips fp16 gradients that overflowed; otherwise the host has to decide."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))


def portable_state(optimizer: Optimizer) -> dict[str, Any]:
    """Return the optimizer's state, in which a learning rate is a plain number and parameters have no names.

    Their names are those of the network, which a checkpoint holds as well. Raises RunError if the optimizer wraps
    another one, whose state is not part of its own.
    """
    state = optimizer.state_dict()
    inner = [each for each in optimizers_in(optimizer) if each is not optimizer]
    if inner:
        _refuse_forgotten(optimizer, inner, list(tensors_in(state)))
    return dict(_portable(state))


def _refuse_forgotten(optimizer: Optimizer, inner: Sequence[Optimizer], saved: Sequence[Tensor]) -> None:
    known = set(map(id, saved))
    for each in inner:
        for tensor in tensors_in(list(each.state.values())):
            # A state may also be given as a copy.
            if id(tensor) not in known and not any(torch.equal(tensor, other) for other in saved):
                name, within = type(optimizer).__name__, type(each).__name__
                raise RunError(
                    f"optimizer: {name} wraps {within}, whose state is not part of {name}.state_dict(): a run that"
                    f" continues would have lost it. Return it there under a name of its own, and restore it in"
                    f" load_state_dict"
                )


def optimizers_in(value: Any) -> Iterator[Optimizer]:
    """Yield the optimizers in a value: also those that an optimizer wraps, alone or in lists and groups."""
    if isinstance(value, Optimizer):
        yield value
        yield from optimizers_in([each for key, each in vars(value).items() if key not in ("state", "param_groups")])
    elif isinstance(value, Mapping):
        yield from optimizers_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from optimizers_in(item)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in a value, also those inside of lists and groups."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from tensors_in(list(value.values()))
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from tensors_in(item)


def _portable(tree: Any) -> Any:
    """Return a state, or a part of it, with portable parameter groups; an optimizer within has groups of its own."""
    if isinstance(tree, list | tuple):
        return type(tree)(_portable(item) for item in tree) if _holds_groups(tree) else tree
    if not isinstance(tree, Mapping):
        return tree
    if not is_optimizer_state(tree):
        return {key: _portable(value) for key, value in tree.items()}
    groups = [{**group, "lr": float(group["lr"])} for group in tree["param_groups"]]
    for group in groups:
        group.pop("param_names", None)
    others = {key: _portable(value) for key, value in tree.items() if key not in ("state", "param_groups")}
    return {"state": tree["state"], "param_groups": groups, **others}


def is_optimizer_state(tree: Any) -> bool:
    """Return whether a tree is the state of an optimizer, by the form that torch gives it."""
    return isinstance(tree, Mapping) and isinstance(tree.get("param_groups"), list) and "state" in tree


def _holds_groups(items: Sequence[Any]) -> bool:
    return any(map(is_optimizer_state, items))


def load_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Restore a state from `portable_state`, also of another device."""
    optimizer.load_state_dict(_adapted(state, optimizer.state_dict()))
    _restore_types(optimizer, state["state"])
    _order_axes(optimizer)


def _adapted(saved: Any, current: Any) -> Any:
    """Return a saved state, or a part of it, whose parameter groups suit this device and version of torch."""
    if isinstance(saved, list | tuple) and isinstance(current, list | tuple) and _holds_groups(saved):
        return type(saved)(_adapted(*pair) for pair in zip(saved, current, strict=True))
    if not isinstance(saved, Mapping) or not isinstance(current, Mapping):
        return saved
    adapted = {key: value if key == "state" else _adapted(value, current.get(key)) for key, value in saved.items()}
    if is_optimizer_state(saved):
        pairs = zip(saved["param_groups"], current["param_groups"], strict=True)
        adapted["param_groups"] = [_adapted_group(*pair) for pair in pairs]
    return adapted


def _adapted_group(saved: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
    # torch would replace all options by those of the file. Four kinds keep their current value: those of the device, a
    # rate on the device, the names of parameters, and options that are off: some versions of torch store them as None,
    # others as False, and a fused step fails with the wrong one.
    kept = [
        key
        for key, value in current.items()
        if key in (*DEVICE_OPTIONS, "param_names")
        or (key == "lr" and isinstance(value, Tensor))
        or (is_off(value) and is_off(saved.get(key)))
    ]
    return {**saved, **{key: current[key] for key in kept}}


def is_off(value: Any) -> bool:
    """Return whether the value of an option says that it is off, in the words of any version of torch."""
    return value is None or value is False


def _restore_types(optimizer: Optimizer, saved: Mapping[Any, Any]) -> None:
    """Give the optimizer's state the types of the saved one, all of which torch turns into that of the parameter."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for key, value in saved.items():
        owner = parameters[key] if type(key) is int and key < len(parameters) else key
        if owner in optimizer.state:
            # A state that belongs to no parameter is left on the CPU by torch.
            device = None if isinstance(owner, Tensor) else parameters[0].device
            optimizer.state[owner] = _typed(optimizer.state[owner], value, device)


def _typed(loaded: Any, saved: Any, device: torch.device | None) -> Any:
    """Return a loaded value with the types of the saved one; groups and lists stay the same objects."""
    if isinstance(loaded, dict) and isinstance(saved, Mapping):
        loaded.update({key: _typed(value, saved[key], device) for key, value in loaded.items() if key in saved})
    elif isinstance(loaded, list) and isinstance(saved, list) and len(loaded) == len(saved):
        loaded[:] = [_typed(*pair, device) for pair in zip(loaded, saved, strict=True)]
    elif isinstance(loaded, tuple) and isinstance(saved, tuple) and len(loaded) == len(saved):
        return tuple(_typed(*pair, device) for pair in zip(loaded, saved, strict=True))
    elif isinstance(loaded, Tensor) and isinstance(saved, Tensor):
        return (loaded if loaded.dtype == saved.dtype else saved).to(device or loaded.device)
    return saved if isinstance(saved, str) else loaded  # torch takes a text apart as if it were a list


def _order_axes(optimizer: Optimizer) -> None:
    """Give the optimizer's state the memory layout of its parameters, such as channels last.

    A checkpoint stores tensors contiguously, and a fused step reads parameter and state in memory order.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items() if isinstance(parameter, Tensor) and isinstance(state, dict) else ():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
