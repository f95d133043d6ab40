"""Compare a checkpoint with the trainer that is to continue from it: names, types, shapes, settings and ranges."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainer.storage.checkpoint_guard import reason
from trainer.storage.untrusted import LARGEST, MOST_SECONDS
from trainer.training.epoch import EpochProgress

if TYPE_CHECKING:
    from trainer.training.trainer import ClassificationTrainer

import contextlib
from collections.abc import Iterator
from pathlib import Path

from trainer.errors import RunError
from trainer.runtime.memory import is_out_of_memory, release_frames

MOST_STEPS = 10**15  # of a counter
# The parts of a trainer's state that are compared with its own before they are taken up.
TAKEN_UP = ("epoch", "progress", "model", "optimizer", "schedule", "scaler", "hooks", "early_stopping")


@contextlib.contextmanager
def checkpoint_errors(path: Path) -> Iterator[None]:
    """Around what takes a checkpoint up. Raises RunError with one line if it is of another network or optimizer."""
    try:
        yield
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            release_frames(error)
            raise RunError(f"{path} needs more memory than is free") from None
        raise RunError(f"{path} does not fit {path.with_name('config.yaml')}: {reason(error)}") from None


def refuse_misfit(trainer: "ClassificationTrainer", given: Any) -> None:
    """What a run would take up must be built as the state of this trainer, which is new: names, kinds and shapes.

    What config.yaml decides must be as it says. Raises ValueError.
    """
    own = trainer.state_dict()
    if not isinstance(given, Mapping) or not set(TAKEN_UP) <= given.keys():
        raise ValueError(f"it must hold {', '.join(TAKEN_UP)}")
    for name in TAKEN_UP:
        if name == "optimizer":
            _refuse_other_optimizer(trainer.optimizer, own[name], given[name])
        elif name == "progress":
            _refuse_other_progress(trainer, given[name])
        elif name != "scaler" or given[name] != {}:  # without half precision there is nothing to scale
            refuse_unlike(own[name], given[name], name)
    if given["scaler"]:
        for key in ("growth_factor", "backoff_factor", "growth_interval"):
            _refuse_other_setting(own["scaler"][key], given["scaler"][key], f"scaler.{key}")
    # Both only ever lower the rate.
    _refuse_beyond(1.0, given["schedule"]["scale"], "schedule.scale")
    if "lr" in own["schedule"]["rule"]:
        _refuse_beyond(own["schedule"]["rule"]["lr"], given["schedule"]["rule"]["lr"], "schedule.rule.lr")


def refuse_unlike(own: Any, given: Any, where: str) -> None:
    """The same names, kinds and shapes all the way down. Raises ValueError."""
    if isinstance(own, Mapping):
        if not isinstance(given, Mapping) or own.keys() != given.keys():
            raise ValueError(f"{where} must hold {', '.join(map(str, own)) or 'nothing'}")
        for key in own:
            refuse_unlike(own[key], given[key], f"{where}.{key}")
    elif isinstance(own, list | tuple):
        if not isinstance(given, list | tuple) or len(own) != len(given):
            raise ValueError(f"{where} must be a list of {len(own)}")
        for number, (each, other) in enumerate(zip(own, given, strict=True)):
            refuse_unlike(each, other, f"{where}[{number}]")
    elif isinstance(own, Tensor):
        if not isinstance(given, Tensor) or (own.shape, own.dtype) != (given.shape, given.dtype):
            raise ValueError(f"size mismatch for {where}: {_described(given)} where {_described(own)} is expected")
    elif isinstance(own, bool | str) or own is None:
        if type(given) is not type(own):
            raise ValueError(f"{where}={given!r}, where {own!r} or its like is expected")
    elif type(given) not in (int, float) or (type(own) is int and type(given) is not int):
        raise ValueError(f"{where}={given!r}, where a number is expected")
    elif type(given) is int and not 0 <= given < MOST_STEPS:
        raise ValueError(f"{where}={given!r} is out of range")


def _refuse_other_setting(own: Any, given: Any, where: str) -> None:
    """A setting is no memory: a file that trains otherwise than config.yaml says would do so unseen."""
    if all(value is None or value is False for value in (own, given)):  # both off; versions of torch differ in which
        return
    refuse_unlike(own, given, where)
    if given != own:
        raise ValueError(f"{where}={given!r}, where {own!r} is set")


def _refuse_beyond(most: float, given: float, where: str) -> None:
    if not 0 <= given <= most:  # nor is NaN
        raise ValueError(f"{where}={given!r} is out of range: must be from 0 to {most!r}")


def _refuse_other_progress(trainer: "ClassificationTrainer", given: Any) -> None:
    """An epoch under way: at a step that it has, with sums of that size and generators that torch takes."""
    if given is None:
        return
    steps = len(trainer.train)
    blank = EpochProgress(trainer.seed, 0, steps, 0.0, trainer.device)
    blank.started = 0.0
    blank.rest()
    own = blank.state_dict()
    elsewhere = isinstance(given, Mapping) and given.get("device") != own["device"]
    if elsewhere:  # the draws of another kind of device are not taken up
        own["generators"] = given.get("generators")
    refuse_unlike(own, given, "progress")
    if not given["losses"].isfinite().all():
        raise ValueError("progress.losses are not finite")
    most: dict[str, float] = {
        "step": steps,
        "skipped_steps": steps,
        "images": len(trainer.train.labels),
        "seconds": MOST_SECONDS,
        "lr": LARGEST,
        "correct": LARGEST,
    }
    for name, bound in most.items():
        _refuse_beyond(bound, float(given[name]), f"progress.{name}")
    for name, state in ({} if elsewhere else given["generators"]).items():
        try:
            torch.Generator("cpu" if name == "cpu" else trainer.device).set_state(state)
        except RuntimeError as error:
            raise ValueError(f"progress.generators.{name}: {reason(error)}") from None


def _refuse_other_optimizer(optimizer: Optimizer, own: Mapping[str, Any], given: Any) -> None:
    """Its settings as they are now, and of each parameter the memory that such an optimizer makes."""
    if not isinstance(given, Mapping) or not isinstance(given.get("state"), Mapping):
        raise ValueError("optimizer must hold state, param_groups")
    groups, expected = given.get("param_groups"), own["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(expected):
        raise ValueError(f"optimizer.param_groups must be a list of {len(expected)}")
    for number, (group, other) in enumerate(zip(expected, groups, strict=True)):
        where = f"optimizer.param_groups[{number}]"
        # What is off by default may be missing: later versions of torch have more such switches.
        needed = {key for key, value in group.items() if value is not None and value is not False}
        if not isinstance(other, Mapping) or not needed <= other.keys():
            raise ValueError(f"{where} must hold {', '.join(sorted(needed))}")
        for key, value in other.items():
            if key == "fused":  # how a step is computed, not what: the own one is taken
                continue
            check = refuse_unlike if key == "lr" else _refuse_other_setting  # the schedule sets the rate anew
            check(group.get(key), value, f"{where}.{key}")
    parameters = [
        (parameter.shape, memory)
        for group in optimizer.param_groups
        for memory in [_memory(optimizer, group)]
        for parameter in group["params"]
    ]
    # A parameter that no gradient reached has none, unless the optimizer begins with one.
    if not own["state"].keys() <= given["state"].keys() <= set(range(len(parameters))):
        raise ValueError("optimizer.state must hold a group for each parameter")
    for index, memory in given["state"].items():
        shape, own_memory = parameters[index]
        _refuse_other_memory(shape, own_memory, memory, f"optimizer.state.{index}")


def _memory(optimizer: Optimizer, group: Mapping[str, Any]) -> dict[str, Any]:
    """What such an optimizer keeps of a parameter of one number, [1], after a step."""
    parameter = torch.zeros(1, requires_grad=True)
    parameter.grad = torch.zeros(1)
    twin = type(optimizer)([{**group, "params": [parameter]}], group["lr"])
    twin.step()
    return dict(twin.state[parameter])


def _refuse_other_memory(shape: torch.Size, own: Mapping[str, Any], given: Any, where: str) -> None:
    """`own` is of a parameter [1], `given` of one of this shape."""
    # SGD without momentum kept None in earlier versions of torch.
    names = {key for key, value in given.items() if value is not None} if isinstance(given, Mapping) else None
    if names != own.keys():
        raise ValueError(f"{where} must hold {', '.join(own) or 'nothing'}")
    for name, value in own.items():
        of_each = isinstance(value, Tensor) and value.shape == (1,)
        refuse_unlike(value.new_empty(shape, device="meta") if of_each else value, given[name], f"{where}.{name}")
        if not of_each:  # a counter
            _refuse_beyond(LARGEST, float(given[name]), f"{where}.{name}")


def _described(value: Any) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
