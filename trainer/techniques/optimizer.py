"""The update rules, where g is the gradient of the loss; all of them are torch's.

`params` are torch's parameter groups, whose "params" are pairs of name and parameter: `weight_decay_scope` has already
decided which of them are decayed. A group that an optimizer makes may have an `lr_scale`, by which the schedule's rate
is multiplied. An optimizer may have a state of any form and beyond that:

* a `step(closure)` that requires the closure, which computes the gradients of the step's batch anew and returns the
  loss; a class attribute `gradients_per_step` tells how often it is called;
* `train()` and `eval()`, if the weights to evaluate are not those to train.
"""

from typing import Any

from torch import optim

from trainer.config.types import Fraction, NonNegative, OpenFraction, Positive

Params = list[dict[str, Any]]

# fused=True does a whole step as one operation: an epoch of small batches takes 5 % less time on a CPU, and in fp16 the
# device itself skips a step whose gradients overflowed. SGD with momentum is not fused: if its first step is skipped,
# torch continues with a momentum buffer that was never set. RMSprop has no fused form, Adagrad one for GPUs only in the
# latest torch.


def sgd(params: Params, lr: float, weight_decay: float) -> optim.Optimizer:
    """Gradient descent: W ← W − lr·(g + λW)."""
    return optim.SGD(params, lr, weight_decay=weight_decay, fused=True)


def momentum(
    params: Params, lr: float, weight_decay: float, *, momentum: OpenFraction = 0.9, dampening: Fraction = 0.0
) -> optim.Optimizer:
    """Momentum: v ← β·v + g; W ← W − lr·v. Polyak 1964."""
    # torch keeps lr out of v: after a change of the rate, old gradients count at the new one.
    return optim.SGD(params, lr, momentum, dampening, weight_decay)


def nesterov(params: Params, lr: float, weight_decay: float, *, momentum: OpenFraction = 0.9) -> optim.Optimizer:
    """Momentum with a look-ahead: v ← β·v + g; W ← W − lr·(g + β·v). Nesterov 1983, Sutskever et al. 2013."""
    return optim.SGD(params, lr, momentum, weight_decay=weight_decay, nesterov=True)


def adagrad(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    eps: Positive = 1e-10,
    lr_decay: NonNegative = 0.0,
    initial_accumulator: NonNegative = 0.0,
) -> optim.Optimizer:
    """Adagrad: G ← G + g²; W ← W − lr·g / (√G + eps). Duchi et al. 2011."""
    return optim.Adagrad(params, lr, lr_decay, weight_decay, initial_accumulator, eps)


def rmsprop(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    alpha: OpenFraction = 0.99,
    eps: Positive = 1e-8,
    momentum: Fraction = 0.0,
    centered: bool = False,
) -> optim.Optimizer:
    """RMSprop: G ← α·G + (1 − α)·g²; W ← W − lr·g / (√G + eps). Tieleman & Hinton 2012."""
    return optim.RMSprop(params, lr, alpha, eps, weight_decay, momentum, centered)


def adam(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    betas: tuple[Fraction, Fraction] = (0.9, 0.999),
    eps: Positive = 1e-8,
    amsgrad: bool = False,
) -> optim.Optimizer:
    """Adam: W ← W − lr·m̂ / (√v̂ + eps), with λW added to the gradient. Kingma & Ba 2015."""
    return optim.Adam(params, lr, betas, eps, weight_decay, amsgrad, fused=True)


def adamw(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    betas: tuple[Fraction, Fraction] = (0.9, 0.999),
    eps: Positive = 1e-8,
    amsgrad: bool = False,
) -> optim.Optimizer:
    """Adam with decoupled decay: W ← (1 − lr·λ)·W − lr·m̂ / (√v̂ + eps). Loshchilov & Hutter 2019."""
    return optim.AdamW(params, lr, betas, eps, weight_decay, amsgrad, fused=True)
