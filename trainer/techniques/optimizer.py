"""The update rules, where g is the gradient of the loss: torch's where it has them.

`params` are torch's parameter groups, whose "params" are pairs of name and parameter: `weight_decay_scope` has already
decided which of them are decayed. A group that an optimizer makes may have an `lr_scale`, by which the schedule's rate
is multiplied. An optimizer may have a state of any form and beyond that:

* a `step(closure)` that requires the closure, which computes the gradients of the step's batch anew and returns the
  loss; a class attribute `gradients_per_step` tells how often it is called;
* `train()` and `eval()`, if the weights to evaluate are not those to train.
"""

from typing import Any, Literal

from torch import optim

from trainer.config.types import Count, Fraction, NonNegative, OpenFraction, Positive, Probability, Repeats
from trainer.techniques.steps.muon import Muon, muon_groups
from trainer.techniques.steps.outer_steps import SAM, Lookahead, around
from trainer.techniques.steps.schedule_free import ScheduleFreeAdamW
from trainer.techniques.steps.update_rules import Lion, Momentum, RMSpropFromGradient

Params = list[dict[str, Any]]

# fused=True does a whole step as one operation: an epoch of small batches takes 5 % less time on a CPU, and in fp16 the
# device itself skips a step whose gradients overflowed. SGD with momentum is not fused: if its first step is skipped,
# torch continues with a momentum buffer that was never set. RMSprop has no fused form, Adagrad one for GPUs only in the
# latest torch.


def sgd(params: Params, lr: float, weight_decay: float) -> optim.Optimizer:
    """Gradient descent: W ← W − lr·(g + λW)."""
    return optim.SGD(params, lr, weight_decay=weight_decay, fused=True)


def momentum(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    momentum: OpenFraction = 0.9,
    dampening: Fraction = 0.0,
    form: Literal["torch", "lecture", "ema"] = "torch",
) -> optim.Optimizer:
    """Momentum: v ← β·v + g; W ← W − lr·v. Polyak 1964.

    `form`: "lecture" has lr within v, "ema" the mean v ← β·v + (1 − β)·g.
    """
    if form != "torch":
        return Momentum(params, lr, momentum, weight_decay, form)
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
    start: Literal["zero", "gradient"] = "zero",
) -> optim.Optimizer:
    """RMSprop: G ← α·G + (1 − α)·g²; W ← W − lr·g / (√G + eps). Tieleman & Hinton 2012.

    `start`: G before the first step is zero, or the square of the first gradient.
    """
    rule = optim.RMSprop if start == "zero" else RMSpropFromGradient
    return rule(params, lr, alpha, eps, weight_decay, momentum, centered)


def adadelta(
    params: Params, lr: float, weight_decay: float, *, rho: Fraction = 0.9, eps: Positive = 1e-6
) -> optim.Optimizer:
    """Adadelta: W ← W − lr·g·√(D + eps) / √(G + eps), with means G of g² and D of squared steps. Zeiler 2012."""
    return optim.Adadelta(params, lr, rho, eps, weight_decay)


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


def nadam(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    betas: tuple[Fraction, Fraction] = (0.9, 0.999),
    eps: Positive = 1e-8,
    momentum_decay: NonNegative = 0.004,
    decoupled: bool = False,
) -> optim.Optimizer:
    """Adam whose momentum looks ahead, as nesterov's does. Dozat 2016."""
    return optim.NAdam(params, lr, betas, eps, weight_decay, momentum_decay, decoupled)


def radam(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    betas: tuple[Fraction, Fraction] = (0.9, 0.999),
    eps: Positive = 1e-8,
    decoupled: bool = False,
) -> optim.Optimizer:
    """Adam that divides by √v̂ only as far as v̂ is known, which replaces a warm-up. Liu et al. 2020."""
    return optim.RAdam(params, lr, betas, eps, weight_decay, decoupled)


def adamax(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    betas: tuple[Fraction, Fraction] = (0.9, 0.999),
    eps: Positive = 1e-8,
) -> optim.Optimizer:
    """Adam by the largest gradient: u ← max(β₂·u, |g| + eps); W ← W − lr·m̂ / u. Kingma & Ba 2015."""
    return optim.Adamax(params, lr, betas, eps, weight_decay)


def adafactor(
    params: Params, lr: float, weight_decay: float, *, decay: Positive = 0.8, eps: Positive = 1e-3
) -> optim.Optimizer:
    """Adam without momentum, with a row and a column in place of each matrix of squares. Shazeer & Stern 2018.

    The rate is relative to the size of the weights: W ← W − max(eps, RMS(W))·min(lr, 1/√t)·u, with RMS(u) at most 1.
    """
    return optim.Adafactor(params, lr, -decay, (None, eps), weight_decay=weight_decay)


def lion(
    params: Params, lr: float, weight_decay: float, *, betas: tuple[Fraction, Fraction] = (0.9, 0.99)
) -> optim.Optimizer:
    """Lion: W ← (1 − lr·λ)·W − lr·sign(β₁·m + (1 − β₁)·g); m ← β₂·m + (1 − β₂)·g. Chen et al. 2023."""
    return Lion(params, lr, betas, weight_decay)


def muon(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    momentum: Fraction = 0.95,
    iterations: Repeats = 5,
    scale: Literal["spectral", "rms"] = "spectral",
    adamw_lr_scale: Positive = 0.1,
    betas: tuple[Fraction, Fraction] = (0.9, 0.95),
    eps: Positive = 1e-8,
) -> optim.Optimizer:
    """Momentum made orthogonal for each hidden matrix, AdamW for the first and last layer and vectors. Jordan 2024."""
    return Muon(muon_groups(params, momentum, betas, adamw_lr_scale), lr, eps=eps, iterations=iterations, scale=scale)


def sam(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    rho: Positive = 0.05,
    base: Literal["sgd", "momentum", "nesterov", "adam", "adamw"] = "momentum",
    momentum: OpenFraction = 0.9,
) -> optim.Optimizer:
    """The base's step with the gradient at the worst point nearby, W + rho·g / ‖g‖. Foret et al. 2021."""
    return around(SAM, _base(base, params, lr, weight_decay, momentum), rho=rho)


def lookahead(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    sync_steps: Count = 5,
    alpha: Probability = 0.5,
    base: Literal["sgd", "momentum", "nesterov", "adam", "adamw"] = "adam",
    momentum: OpenFraction = 0.9,
) -> optim.Optimizer:
    """The base's steps, and slow weights S that meet it after every few: W ← S ← S + α·(W − S). Zhang et al. 2019."""
    rule = _base(base, params, lr, weight_decay, momentum)
    return around(Lookahead, rule, sync_steps=sync_steps, alpha=alpha, lookahead_steps=0)


def schedule_free(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    beta: OpenFraction = 0.9,
    beta2: Fraction = 0.999,
    eps: Positive = 1e-8,
) -> optim.Optimizer:
    """AdamW that evaluates an average of its steps, in place of a schedule. Defazio et al. 2024."""
    return ScheduleFreeAdamW(params, lr, beta, beta2, eps, weight_decay)


def _base(name: str, params: Params, lr: float, weight_decay: float, momentum: float) -> optim.Optimizer:
    """Return the optimizer of this name with its usual settings and this momentum, or β₁."""
    if name == "sgd":
        return sgd(params, lr, weight_decay)
    if name in ("adam", "adamw"):
        rule = adam if name == "adam" else adamw
        return rule(params, lr, weight_decay, betas=(momentum, 0.999))
    return optim.SGD(params, lr, momentum, weight_decay=weight_decay, nesterov=name == "nesterov")
