"""The memory of own optimizers and schedules that no checkpoint holds: found with small twins before the run."""

import contextlib
import copy
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from trainer.config.run_config import RunConfig
from trainer.errors import ConfigError
from trainer.techniques.scheduler import LRFunction, MomentumLR, ObservingLR, StatefulLR
from trainer.training.build import build_optimizer, parameter_groups
from trainer.training.optimizer_check import STEPS, take_step
from trainer.training.optimizer_state import load_state, optimizers_in, portable_state, set_mode

LARGEST = 6  # values along each axis of a twin's weights: what an optimizer remembers does not depend on it
SAVED = ("state", "param_groups", "defaults")
# Set by torch itself, which saves none of them.
OF_TORCH = {*vars(SGD([torch.zeros(1)], 0.1)), "_warned_capturable_if_run_uncaptured", "_numel_cache"}


def refuse_forgotten(config: RunConfig, model: nn.Module) -> None:
    """Raise ConfigError for an own optimizer or schedule that would go on otherwise after a resume.

    One twin takes some steps; another one begins from its saved state. After one more step of both, what differs
    between their attributes has not been saved.
    """
    if own := config.optimizer.own:
        names = _lost_by_optimizer(lambda: _small_optimizer(config, model))
        if names:
            keeps = " and ".join(f"`{name}`" for name in names)
            it = "it" if len(names) == 1 else "them"
            raise ConfigError(
                f"{own.groups['optimizer'].shown}: optimizer={config.optimizer.name} keeps {keeps} outside of state and"
                f" param_groups, where it is not saved: keep {it} in self.state[weight] or in the parameter group, or"
                f" return {it} from state_dict() and restore {it} in load_state_dict()"
            )
    if own := config.scheduler.own:
        problem = _lost_by_rule(lambda: config.scheduler.function()(config.lr, config.epochs), config.epochs)
        if problem:
            raise ConfigError(
                f"{own.groups['scheduler'].shown}: scheduler={config.scheduler.name} {problem}: compute the rate from"
                " the epoch alone, or return what it needs from state_dict() and restore it in load_state_dict()"
            )


def _small_optimizer(config: RunConfig, model: nn.Module) -> Optimizer:
    groups = parameter_groups(model, config.weight_decay, config.weight_decay_scope)
    for group in groups:
        group["params"] = [
            (name, nn.Parameter(torch.zeros([min(size, LARGEST) for size in each.shape]), each.requires_grad))
            for name, each in group["params"]
        ]
    return build_optimizer(config, groups)


def _lost_by_optimizer(build: Callable[[], Optimizer]) -> list[str]:
    """Return the names of the attributes that a saved state does not bring back."""
    # Whatever fails on a twin is told when it fails in the run.
    with torch.random.fork_rng(devices=[]), contextlib.suppress(Exception):
        first = build()
        before = _attributes(first)
        set_mode(first, training=True)
        for _ in range(STEPS):
            take_step(first)
        if _attributes(first) == before:
            return []
        set_mode(first, training=False)
        second = build()
        for one, other in zip(_parameters(first), _parameters(second), strict=True):
            other.data.copy_(one)
        load_state(second, copy.deepcopy(portable_state(first)))
        for optimizer in (first, second):
            torch.manual_seed(0)
            set_mode(optimizer, training=True)
            take_step(optimizer)
        return _differing(_attributes(first), _attributes(second))
    return []


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _attributes(optimizer: Optimizer) -> dict[str, Any]:
    """Return the values of an optimizer's attributes, and of those that it wraps."""
    found = dict[str, Any]()
    for number, each in enumerate(optimizers_in(optimizer)):
        own = {name: value for name, value in vars(each).items() if name not in SAVED and name not in OF_TORCH}
        found |= {f"{name} of {type(each).__name__}" if number else name: _plain(value) for name, value in own.items()}
    return found


def _lost_by_rule(build: Callable[[], LRFunction], epochs: float) -> str:
    """Return what a schedule does that no checkpoint brings back, as a part of a sentence, or ""."""
    with torch.random.fork_rng(devices=[]), contextlib.suppress(Exception):
        first = build()
        for step in range(STEPS):
            _ask(first, epochs * step / (STEPS + 1))
            if isinstance(first, ObservingLR):
                first.observe(1.0)
        second = build()
        if isinstance(first, StatefulLR) and isinstance(second, StatefulLR):
            second.load_state_dict(copy.deepcopy(first.state_dict()))
        rates = []
        for rule in (first, second):
            torch.manual_seed(0)
            rates.append(_ask(rule, epochs * STEPS / (STEPS + 1)))
        names = _differing(*({name: _plain(value) for name, value in vars(rule).items()} for rule in (first, second)))
        if names:
            return f"keeps {' and '.join(f'`{name}`' for name in names)}, which is not saved"
        if rates[0] != rates[1]:
            after, undisturbed = (each[0] for each in reversed(rates))
            return f"remembers its calls, and would say {after} in place of {undisturbed} after a resume"
    return ""


def _ask(rule: LRFunction, epoch: float) -> tuple[float, ...]:
    rate = float(rule(epoch))
    return (rate, float(rule.momentum(epoch))) if isinstance(rule, MomentumLR) else (rate,)


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [name for name, value in one.items() if name not in other or value != other[name]]


def _plain(value: Any, depth: int = 4) -> Any:
    """Return what can be compared of a value: numbers, tensors, and lists, groups and objects of them."""
    if isinstance(value, Tensor):
        return tuple(value.shape), _plain(value.detach().tolist(), depth=99)
    if isinstance(value, float):
        return repr(value)  # NaN is like itself
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list | tuple | deque):
        return [_plain(each, depth - 1) for each in value] if depth else []
    if isinstance(value, Mapping):  # whose keys may be parameters, other ones in each twin
        return [_plain(each, depth - 1) for each in value.values()] if depth else []
    if isinstance(value, Optimizer | nn.Module) or type(value).__module__.startswith("torch"):
        return None
    return _plain(vars(value), depth - 1) if depth and hasattr(value, "__dict__") and not callable(value) else None
