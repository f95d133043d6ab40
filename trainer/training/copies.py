"""Copies of a network that is being trained."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer

from trainer.training.optimizer_state import no_capturable_warning

Parts = TypeVar("Parts", bound=tuple[Any, ...])


def detached_copy(parts: Parts) -> Parts:
    """Return a deep copy of networks and what belongs to them, such as their optimizer.

    Outputs of the last step, which a network with several heads keeps as attributes, are copied without their graph.
    """
    # deepcopy refuses a tensor that belongs to a graph, unless its memo says what stands in its place.
    networks = [part for part in parts if isinstance(part, nn.Module)]
    kept = [tensor for network in networks for module in network.modules() for tensor in _tensors(vars(module))]
    memo: dict[int, Any] = {id(tensor): tensor.detach() for tensor in kept if tensor.grad_fn is not None}
    copy.deepcopy(networks, memo)
    # It takes only groups and state of an optimizer, as torch says, and not what an optimizer has beside them.
    optimizers = list(_optimizers(parts))
    memo |= {id(optimizer): type(optimizer).__new__(type(optimizer)) for optimizer in optimizers}
    for optimizer in optimizers:
        vars(memo[id(optimizer)]).update(copy.deepcopy(vars(optimizer), memo))
        no_capturable_warning(memo[id(optimizer)])
    return copy.deepcopy(parts, memo)


def _optimizers(value: Any) -> Iterator[Optimizer]:
    """Yield the optimizers in a value: also those that an optimizer wraps, alone or in lists and groups."""
    if isinstance(value, Optimizer):
        yield value
        yield from _optimizers([each for key, each in vars(value).items() if key not in ("state", "param_groups")])
    elif isinstance(value, Mapping):
        yield from _optimizers(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _optimizers(item)


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in an attribute, also those inside of lists and groups."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from _tensors(item)
