"""The update rules, g being the gradient of the loss; all of them are torch's.

`params` are torch's parameter groups: `weight_decay_scope` has already decided which of them are decayed.
`fused`: a whole step as one operation. On a CPU it takes 5 % off an epoch of small batches, and in fp16 a step that is
to be left out is left out on the device. Momentum does without: where its first step is left out, torch goes on from a
momentum that was never set. RMSprop has none, Adagrad's knows GPUs only in the latest torch.
"""

from typing import Any

from torch import optim

from trainer.config.types import Fraction, NonNegative, OpenFraction, Positive

Params = list[dict[str, Any]]


def sgd(params: Params, lr: float, weight_decay: float) -> optim.Optimizer:
    return optim.SGD(params, lr, weight_decay=weight_decay, fused=True)


def momentum(
    params: Params, lr: float, weight_decay: float, *, momentum: OpenFraction = 0.9, dampening: Fraction = 0.0
) -> optim.Optimizer:
    return optim.SGD(params, lr, momentum, dampening, weight_decay)


def nesterov(params: Params, lr: float, weight_decay: float, *, momentum: OpenFraction = 0.9) -> optim.Optimizer:
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
    return optim.AdamW(params, lr, betas, eps, weight_decay, amsgrad, fused=True)
