"""The search for settings of the training."""

import numpy as np
import torch

from trainer.lecture.formulas.compare import on
from trainer.lecture.formulas.rule import Rule


def grid_cost(values, dimensions):
    return values**dimensions


def grid_cost_torch(values, dimensions):
    axis = torch.arange(values)
    grid = torch.cartesian_prod(*[axis] * dimensions)
    return len(grid)  # runs, one for each point


def random_search(trials, share):
    return 1 - (1 - share) ** trials


def random_search_torch(trials, share):
    share = torch.tensor(share, dtype=torch.double)
    hits = torch.distributions.Binomial(trials, share)
    none = hits.log_prob(torch.zeros(())).exp()
    return 1 - none


def log_scale(u, low=1e-5, high=1e-1):
    # u = np.random.rand(number of trials)
    first, last = np.log10(low), np.log10(high)
    return 10 ** (first + u * (last - first))


def log_scale_torch(u, low=1e-5, high=1e-1):
    # u = torch.rand(number of trials)
    return low * (high / low) ** u


RULES = {
    "grid_cost": Rule(
        "The cost of a grid",
        "runs = kᵈ  for k values of each of d settings",
        "Five values of four settings are 625 runs, and each setting has only been seen at five values.",
        grid_cost,
        grid_cost_torch,
        on(lambda rng: [int(rng.integers(2, 6)), int(rng.integers(2, 6))]),
        "10 random grids, torch by counting the points",
    ),
    "random_search": Rule(
        "The chance of a random search",
        "P = 1 − (1 − q)ⁿ",
        "The chance that one of n random points lies among the best share q of all: 95 % after 59 points for q = 5 "
        "%. A grid of n = kᵈ points has only k values of each setting, n random points have n: better if one "
        "setting matters most (004:861).",
        random_search,
        random_search_torch,
        on(lambda rng: [int(rng.integers(1, 60)), rng.uniform(0.01, 0.5)]),
        "10 random searches, torch by the binomial distribution",
    ),
    "log_scale": Rule(
        "Search on a logarithmic scale",
        "log η uniform between log(low) and log(high)\nη = low·(high / low)ᵘ  with u uniform between 0 and 1",
        "Each power of ten is tried equally often. Uniform in η itself, 90 % of all trials would fall into the "
        "highest one.",
        log_scale,
        log_scale_torch,
        on(lambda rng: [rng.random(100)]),
        "1000 random numbers",
    ),
}
