"""Measure how often the answers to further questions err in simulated studies: docs/statistics.md, "Other questions".

python scripts/questions_calibration.py
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from trainer.stats.arms import Arm
from trainer.stats.contrast import contrast, stepped
from trainer.stats.superiority import not_worse, superiority
from trainer.stats.trial import trial

NOISES = {"alike": (1, 1, 1, 1), "one 4:1": (4, 1, 1, 1), "one 8:1": (8, 1, 1, 1), "1 to 4": (1, 2, 3, 4)}


def arm(values: NDArray[np.float64]) -> Arm:
    """Return an arm with a seed for each value."""
    return Arm("arm", {str(seed): float(value) for seed, value in enumerate(values)})


def main() -> None:
    """Print the share of studies without an interaction that report one, and so on, in per cent."""
    rng = np.random.default_rng(0)
    for runs in (3, 4, 5, 7, 8, 10):
        for name, deviations in NOISES.items():
            rows = rng.normal(size=(10_000, 4, runs)) * np.array(deviations)[:, None]
            parts = ([(weight, arm(row)) for weight, row in zip((1, -1, -1, 1), four, strict=True)] for four in rows)
            wrong = np.mean([stepped([contrast(each)])[0].concluded for each in parts])
            print(f"interaction, {runs} seeds, {name}: {100 * wrong:.1f} % report one", flush=True)
    for runs in (3, 5, 10, 20, 30):
        for shift, deviation in ((0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2)):
            share, held = norm.cdf(shift / math.hypot(deviation, 1)), list[bool]()
            for _ in range(2000):
                found = superiority(arm(rng.normal(shift, deviation, runs)), arm(rng.normal(size=runs)))
                held += [found.low <= share <= found.high] if found else []
            print(f"superiority, {runs} seeds, true {share:.2f}: {100 * np.mean(held):.1f} % hold it", flush=True)
    for runs in (3, 5, 10):
        wrong = 0
        for _ in range(3000):
            best = arm(rng.normal(size=runs))
            trials = [trial(arm(rng.normal(-1, 1, runs)), best) for _ in range(3)]
            wrong += any(each.p is not None and each.p < 0.05 for each in not_worse(trials, 1.0))
        print(
            f"not worse, {runs} seeds, three arms worse by the margin: {wrong / 30:.1f} % call one no worse", flush=True
        )


if __name__ == "__main__":
    main()
