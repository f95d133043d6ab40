"""Copies of a network that is being trained."""

import copy
from typing import Any, TypeVar

from torch import nn

from trainer.training.optimizer_state import no_capturable_warning, optimizers_in, tensors_in

Parts = TypeVar("Parts", bound=tuple[Any, ...])


def detached_copy(parts: Parts) -> Parts:
    """Return a deep copy of networks and what belongs to them, such as their optimizer.

    Outputs of the last step, which a network with several heads keeps as attributes, are copied without their graph.
    """
    # deepcopy refuses a tensor that belongs to a graph, unless its memo says what stands in its place.
    networks = [part for part in parts if isinstance(part, nn.Module)]
    kept = [tensor for network in networks for module in network.modules() for tensor in tensors_in(vars(module))]
    memo: dict[int, Any] = {id(tensor): tensor.detach() for tensor in kept if tensor.grad_fn is not None}
    copy.deepcopy(networks, memo)
    # It takes only groups and state of an optimizer, as torch says, and not what an optimizer has beside them.
    optimizers = list(optimizers_in(parts))
    memo |= {id(optimizer): type(optimizer).__new__(type(optimizer)) for optimizer in optimizers}
    for optimizer in optimizers:
        vars(memo[id(optimizer)]).update(copy.deepcopy(vars(optimizer), memo))
        no_capturable_warning(memo[id(optimizer)])
    return copy.deepcopy(parts, memo)
