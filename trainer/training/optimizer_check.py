"""The check of an optimizer's saved state against a new optimizer of the same technique, which takes a few steps.

What the steps do not change is a setting, and must be equal; of all else type and shape must be those of the state
after one of the steps.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainer.storage.checkpoint_guard import reason
from trainer.storage.untrusted import MAX_METRIC
from trainer.training.optimizer_state import (
    DEVICE_OPTIONS,
    is_off,
    is_optimizer_state,
    needs_closure,
    portable_state,
    set_mode,
)
from trainer.training.state_forms import is_number, refuse_beyond, refuse_other_setting, refuse_unlike

# An optimizer may act in every fifth or tenth step only, such as Lookahead, and has all its state after that.
STEPS = 12


def refuse_other_optimizer(build: Callable[[], Optimizer], saved: Any, scheduled: Sequence[str] = ()) -> None:
    """Compare a saved state with those of an optimizer, which `build` makes for zeros on the CPU. Raises ValueError.

    `scheduled`: settings besides the rate that the schedule sets.
    """
    error = None
    with torch.random.fork_rng(devices=[]):  # an optimizer may draw
        # A schedule may begin with a rate of zero, at which L-BFGS stops before it has all its state.
        for rate in (None, 0.0):
            history: list[Any] = []
            try:
                for state in _states(build(), rate):
                    history.append(state)
                    misfit = _misfit(history, saved, ("lr", *scheduled))
                    if misfit is None:
                        return
            except ValueError as failed:
                misfit = failed
            error = error or misfit
    assert error
    raise error


def _misfit(history: Sequence[Any], saved: Any, free: Sequence[str]) -> ValueError | None:
    try:
        _refuse_other_state(history, saved, "optimizer", free)
    except ValueError as error:
        return error
    return None


def _states(optimizer: Optimizer, rate: float | None) -> Iterator[Any]:
    """Yield the form of the optimizer's state: before the first step, and after each one in both modes.

    Raises ValueError if the first step fails. `rate`: in place of that of the run.
    """
    yield _form(portable_state(optimizer))
    for step in range(STEPS if rate is None else 1):
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] if rate is None else rate
        try:
            set_mode(optimizer, training=True)
            take_step(optimizer)
        except Exception as error:
            if step:
                return
            raise ValueError(f"the optimizer itself fails in a step from weights of zero: {reason(error)}") from None
        yield _form(portable_state(optimizer))
        if set_mode(optimizer, training=False):
            yield _form(portable_state(optimizer))


def take_step(optimizer: Optimizer) -> None:
    """Take a step down (w + 1)²/2, whose gradient is one at weights of zero."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def closure() -> Any:
        """Set the gradients and return the loss."""
        for parameter in parameters:
            parameter.grad = parameter.detach() + 1
        return torch.stack([parameter.grad.float().square().sum() / 2 for parameter in parameters]).sum()

    if needs_closure(optimizer):
        optimizer.step(closure)
    else:
        closure()
        optimizer.step()


def _form(value: Any) -> Any:
    """Return a copy of a state that does not change with it; of tensors only shape and type, without memory."""
    if isinstance(value, Tensor):
        return value.new_empty(value.shape, device="meta")
    if isinstance(value, Mapping):
        return {key: _form(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_form, value))
    return copy.copy(value)


def _refuse_other_state(history: Sequence[Any], saved: Any, where: str, free: Sequence[str]) -> None:
    """Compare a saved state of an optimizer with the last form of its history, from which settings are known."""
    form = history[-1]
    if not isinstance(saved, Mapping) or saved.keys() != form.keys() or not isinstance(saved["state"], Mapping):
        raise ValueError(f"{where} must hold {', '.join(form)}")
    groups = saved["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(form["param_groups"]):
        raise ValueError(f"{where}.param_groups must be a list of {len(form['param_groups'])}")
    for number, group in enumerate(groups):
        earlier = [state["param_groups"][number] for state in history]
        _refuse_other_group(earlier, group, f"{where}.param_groups[{number}]", free)
    _refuse_other_memory(history[0], form, saved["state"], f"{where}.state")
    for key in form.keys() - {"state", "param_groups"}:
        _refuse_other_part([state.get(key) for state in history], saved[key], f"{where}.{key}", free)


def _refuse_other_part(history: Sequence[Any], saved: Any, where: str, free: Sequence[str]) -> None:
    """Compare a part beside an optimizer's own state, which may hold the state of another optimizer."""
    form = history[-1]
    if is_optimizer_state(form):
        _refuse_other_state([state for state in history if is_optimizer_state(state)], saved, where, free)
    elif isinstance(form, list) and any(map(is_optimizer_state, form)):
        if not isinstance(saved, list) or len(saved) != len(form):
            raise ValueError(f"{where} must be a list of {len(form)}")
        for number, item in enumerate(saved):
            _refuse_other_part([state[number] for state in history], item, f"{where}[{number}]", free)
    else:
        refuse_other_form(form, saved, where)


def _refuse_other_group(history: Sequence[Any], saved: Any, where: str, free: Sequence[str]) -> None:
    """Compare the settings of a parameter group, and the form of what the steps have changed in it."""
    first, form = history[0], history[-1]
    changed = {key for key in form if any(_differ(group.get(key), first.get(key)) for group in history)}
    # A switch that is off may be missing: later versions of torch have more of them.
    needed = changed | {key for key, value in first.items() if not is_off(value)}
    if not isinstance(saved, Mapping) or not needed <= saved.keys():
        raise ValueError(f"{where} must hold {', '.join(sorted(needed))}")
    for key, value in saved.items():
        if key in (*DEVICE_OPTIONS, "param_names"):  # they are not loaded
            continue
        if key in free or key in changed:
            refuse_other_form(form.get(key), value, f"{where}.{key}")
        elif isinstance(first.get(key), Tensor):
            refuse_unlike(first[key], value, f"{where}.{key}")
        else:
            refuse_other_setting(first.get(key), value, f"{where}.{key}")


def _differ(one: Any, other: Any) -> bool:
    return not isinstance(one, Tensor) and (type(one) is not type(other) or one != other)


def _refuse_other_memory(first: Any, form: Any, saved: Mapping[Any, Any], where: str) -> None:
    """Compare what is kept for each parameter (momentum and the like), and for all of them together."""
    numbers = {number for group in form["param_groups"] for number in group["params"]}
    # A parameter that no gradient has reached has no state, unless the optimizer creates it at the start (Adagrad).
    needed = first["state"].keys() | ({key for key in form["state"] if key not in numbers} if saved else set())
    if not needed <= saved.keys() <= form["state"].keys() | numbers:
        raise ValueError(f"{where} must hold a group for each parameter")
    for key, value in saved.items():
        expected = form["state"].get(key, {})
        if isinstance(expected, Mapping) and isinstance(value, Mapping):
            # Earlier versions of torch saved None as the momentum of SGD without momentum.
            value = {name: each for name, each in value.items() if each is not None or name in expected}
            # The step is a counter in all of torch's optimizers, which itself takes it for one by this name.
            if is_number(value.get("step")) and is_number(expected.get("step")):
                refuse_other_form(expected["step"], value["step"], f"{where}.{key}.step")
                refuse_beyond(MAX_METRIC, float(value["step"]), f"{where}.{key}.step")
        refuse_other_form(expected, value, f"{where}.{key}")


def refuse_other_form(form: Any, saved: Any, where: str) -> None:
    """Compare types and shapes at every level with those of a state after some steps. Raises ValueError.

    A list may have any length, if each item is like one of the form's; None may have become a plain value.
    """
    if isinstance(form, Mapping):
        # A parameter, by its number, may be missing: no gradient may have reached it.
        needed = {key for key, value in form.items() if type(key) is not int and value is not None}
        if not isinstance(saved, Mapping) or not needed <= saved.keys() <= form.keys():
            raise ValueError(f"{where} must hold {', '.join(map(str, form)) or 'nothing'}")
        for key, value in saved.items():
            refuse_other_form(form[key], value, f"{where}.{key}")
    elif isinstance(form, list):
        if not isinstance(saved, list) or (saved and not form):
            raise ValueError(f"{where} must be a list" if form else f"{where} must be an empty list")
        kinds = list({_kind(item): item for item in form}.values())
        for number, item in enumerate(saved):
            _refuse_other_than(kinds, item, f"{where}[{number}]")
    elif isinstance(form, tuple):
        if not isinstance(saved, list | tuple) or len(saved) != len(form):
            raise ValueError(f"{where} must be a list of {len(form)}")
        for number, (form_item, item) in enumerate(zip(form, saved, strict=True)):
            refuse_other_form(form_item, item, f"{where}[{number}]")
    elif form is None and saved is not None:
        if not isinstance(saved, bool | int | float | str):
            raise ValueError(f"{where} must be None, or have become a plain value")
    elif not (is_number(form) and not isinstance(form, Tensor) and isinstance(saved, Tensor) and is_number(saved)):
        # A number may have become a tensor of one, as the step size of L-BFGS.
        refuse_unlike(form, saved, where, signed=True)


def _refuse_other_than(forms: Sequence[Any], saved: Any, where: str) -> None:
    """Raise ValueError if a value is like none of these."""
    error = ValueError()
    for form in forms:
        try:
            return refuse_other_form(form, saved, where)
        except ValueError as caught:
            error = caught
    raise error


def _kind(value: Any) -> Any:
    """Return a key that is equal for values of one form."""
    if isinstance(value, Tensor):
        return value.shape, value.dtype
    return id(value) if isinstance(value, Mapping | list | tuple) else type(value)
