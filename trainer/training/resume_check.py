"""The check of a checkpoint against the trainer that is to load it: names, types, shapes, settings and ranges.

A checkpoint may come from elsewhere. A state of the wrong form would fail in the first step with torch's own error, and
one with other settings would silently train differently from `config.yaml`.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainer.errors import RunError
from trainer.runtime.memory import is_out_of_memory, release_frames
from trainer.storage.checkpoint_guard import reason
from trainer.storage.untrusted import MAX_METRIC, MAX_SECONDS
from trainer.training.epoch import EpochProgress, Meters
from trainer.training.optimizer_state import DEVICE_OPTIONS

if TYPE_CHECKING:
    from trainer.training.trainer import ClassificationTrainer

MAX_COUNT = 10**15  # of a counter of steps: far above what any run reaches
# The parts of a trainer's state, all of which are compared before any is loaded.
PARTS = ("epoch", "progress", "model", "optimizer", "schedule", "scaler", "hooks", "early_stopping")


@contextlib.contextmanager
def checkpoint_errors(path: Path) -> Iterator[None]:
    """Turn the errors of loading the checkpoint at `path` into RunError with one line.

    torch and Python raise five types of error for a state of another network or optimizer.
    """
    try:
        yield
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            release_frames(error)
            raise RunError(f"{path} needs more memory than is free") from None
        raise RunError(f"{path} does not fit {path.with_name('config.yaml')}: {reason(error)}") from None


def refuse_misfit(trainer: "ClassificationTrainer", state: Any) -> None:
    """Compare a saved state with that of a newly built trainer. Raises ValueError where names, types or shapes differ.

    Settings must be as they are in `config.yaml`, from which the trainer was built.
    """
    own = trainer.state_dict()
    if not isinstance(state, Mapping) or not set(PARTS) <= state.keys():
        raise ValueError(f"it must hold {', '.join(PARTS)}")
    for name in PARTS:
        if name == "optimizer":
            _refuse_other_optimizer(trainer.optimizer, own[name], state[name])
        elif name == "progress":
            _refuse_other_progress(trainer, state[name])
        elif name != "scaler" or state[name] != {}:  # without half precision there is nothing to scale
            refuse_unlike(own[name], state[name], name)
    if state["scaler"]:
        # The other values of the scaler change while it trains; these three are settings.
        for key in ("growth_factor", "backoff_factor", "growth_interval"):
            _refuse_other_setting(own["scaler"][key], state["scaler"][key], f"scaler.{key}")
    # halve_lr and a schedule with a state only ever lower the rate: a higher one was not written by a run.
    _refuse_beyond(1.0, state["schedule"]["scale"], "schedule.scale")
    if "lr" in own["schedule"]["rule"]:
        _refuse_beyond(own["schedule"]["rule"]["lr"], state["schedule"]["rule"]["lr"], "schedule.rule.lr")


def refuse_unlike(own: Any, saved: Any, where: str) -> None:
    """Compare names, types and shapes at every level; `where` names the value in the error. Raises ValueError."""
    if isinstance(own, Mapping):
        if not isinstance(saved, Mapping) or own.keys() != saved.keys():
            raise ValueError(f"{where} must hold {', '.join(map(str, own)) or 'nothing'}")
        for key in own:
            refuse_unlike(own[key], saved[key], f"{where}.{key}")
    elif isinstance(own, list | tuple):
        if not isinstance(saved, list | tuple) or len(own) != len(saved):
            raise ValueError(f"{where} must be a list of {len(own)}")
        for number, (own_item, saved_item) in enumerate(zip(own, saved, strict=True)):
            refuse_unlike(own_item, saved_item, f"{where}[{number}]")
    elif isinstance(own, Tensor):
        if not isinstance(saved, Tensor) or (own.shape, own.dtype) != (saved.shape, saved.dtype):
            raise ValueError(f"size mismatch for {where}: {_form(saved)} where {_form(own)} is expected")
    elif isinstance(own, bool | str) or own is None:
        if type(saved) is not type(own):
            raise ValueError(f"{where}={saved!r}, where {own!r} or its like is expected")
    # type() and not isinstance(): True is an int to Python. A whole number may stand for a fraction, as 1 for 1.0.
    elif type(saved) not in (int, float) or (type(own) is int and type(saved) is not int):
        raise ValueError(f"{where}={saved!r}, where a number is expected")
    elif type(saved) is int and not 0 <= saved < MAX_COUNT:
        raise ValueError(f"{where}={saved!r} is out of range")


def _refuse_other_setting(own: Any, saved: Any, where: str) -> None:
    """Raise ValueError if a setting has another value: the run would silently train with it."""
    if all(value is None or value is False for value in (own, saved)):  # versions of torch differ in how "off" is saved
        return
    refuse_unlike(own, saved, where)
    if saved != own:
        raise ValueError(f"{where}={saved!r}, where {own!r} is set")


def _refuse_beyond(bound: float, saved: float, where: str) -> None:
    if not 0 <= saved <= bound:  # true for NaN as well
        raise ValueError(f"{where}={saved!r} is out of range: must be from 0 to {bound!r}")


def _refuse_other_progress(trainer: "ClassificationTrainer", saved: Any) -> None:
    """Check an unfinished epoch: an existing step, sums of the right size, generator states that torch accepts."""
    if saved is None:
        return
    steps = len(trainer.train)
    blank = EpochProgress(trainer.seed, 0, 0.0, Meters(steps, trainer.device), torch.Generator(trainer.device))
    blank.started = 0.0  # `begin` would set torch's global generators
    blank.suspend()
    own = blank.state_dict()
    other_device = isinstance(saved, Mapping) and saved.get("device") != own["device"]
    if other_device:  # its generators are not loaded
        own["generators"] = saved.get("generators")
    refuse_unlike(own, saved, "progress")
    if not saved["losses"].isfinite().all():
        raise ValueError("progress.losses are not finite")  # no such state is saved (see raise_if_nonfinite)
    bounds: dict[str, float] = {
        "step": steps,
        "skipped_steps": steps,
        "images": len(trainer.train.labels),
        "seconds": MAX_SECONDS,
        "lr": MAX_METRIC,
        "correct": MAX_METRIC,
    }
    for name, bound in bounds.items():
        _refuse_beyond(bound, float(saved[name]), f"progress.{name}")
    for name, state in ({} if other_device else saved["generators"]).items():
        try:
            torch.Generator("cpu" if name == "cpu" else trainer.device).set_state(state)
        except RuntimeError as error:
            raise ValueError(f"progress.generators.{name}: {reason(error)}") from None


def _refuse_other_optimizer(optimizer: Optimizer, own: Mapping[str, Any], saved: Any) -> None:
    """Check the settings of each parameter group, and the form of each parameter's state (momentum and the like)."""
    if not isinstance(saved, Mapping) or not isinstance(saved.get("state"), Mapping):
        raise ValueError("optimizer must hold state, param_groups")
    own_groups, saved_groups = own["param_groups"], saved.get("param_groups")
    if not isinstance(saved_groups, list) or len(saved_groups) != len(own_groups):
        raise ValueError(f"optimizer.param_groups must be a list of {len(own_groups)}")
    for number, (own_group, saved_group) in enumerate(zip(own_groups, saved_groups, strict=True)):
        where = f"optimizer.param_groups[{number}]"
        # A switch that is off may be missing: later versions of torch have more of them.
        needed = {key for key, value in own_group.items() if value is not None and value is not False}
        if not isinstance(saved_group, Mapping) or not needed <= saved_group.keys():
            raise ValueError(f"{where} must hold {', '.join(sorted(needed))}")
        for key, value in saved_group.items():
            if key in DEVICE_OPTIONS:  # they are not loaded
                continue
            check = refuse_unlike if key == "lr" else _refuse_other_setting  # the schedule sets the rate before a step
            check(own_group.get(key), value, f"{where}.{key}")
    parameters = [
        (parameter.shape, form)
        for group in optimizer.param_groups
        for form in [_state_form(optimizer, group)]
        for parameter in group["params"]
    ]
    # A parameter that no gradient has reached has no state, unless the optimizer creates it at the start (Adagrad).
    if not own["state"].keys() <= saved["state"].keys() <= set(range(len(parameters))):
        raise ValueError("optimizer.state must hold a group for each parameter")
    for index, state in saved["state"].items():
        shape, form = parameters[index]
        _refuse_other_state(shape, form, state, f"optimizer.state.{index}")


def _state_form(optimizer: Optimizer, group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state that such an optimizer keeps of a parameter of one number, [1], after a step."""
    parameter = torch.zeros(1, requires_grad=True)
    parameter.grad = torch.zeros(1)
    # On the CPU, where a rate on the device and a step that can be captured do not exist.
    options: dict[str, Any] = {**group, "lr": 1.0, **({"capturable": False} if "capturable" in group else {})}
    twin = type(optimizer)([{**options, "params": [parameter]}], options["lr"])
    twin.step()
    return dict(twin.state[parameter])


def _refuse_other_state(shape: torch.Size, form: Mapping[str, Any], saved: Any, where: str) -> None:
    """Compare the saved state of a parameter of this shape with the `form` of a parameter [1]. Raises ValueError."""
    # Earlier versions of torch saved None as the momentum of SGD without momentum.
    names = {key for key, value in saved.items() if value is not None} if isinstance(saved, Mapping) else None
    if names != form.keys():
        raise ValueError(f"{where} must hold {', '.join(form) or 'nothing'}")
    for name, value in form.items():
        per_weight = isinstance(value, Tensor) and value.shape == (1,)
        # On the "meta" device a tensor has a shape and a type, but no memory.
        expected = value.new_empty(shape, device="meta") if per_weight else value
        refuse_unlike(expected, saved[name], f"{where}.{name}")
        if not per_weight:  # a counter of steps
            _refuse_beyond(MAX_METRIC, float(saved[name]), f"{where}.{name}")


def _form(value: Any) -> str:
    """Return type and shape of a tensor as text; of anything else its type."""
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
