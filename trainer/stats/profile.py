"""Performance profiles over several blocks: the share of an arm's runs that are at least as good as each score.

After Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical precipice". Imports no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer.stats.arms import Arm

DRAWS = 2000  # of the bootstrap
MAX_SCORES = 200  # a figure has no more pixels
LEVEL = 0.05  # left out by the band, half of it at each side


@dataclass(frozen=True)
class Profile:
    """The share of the runs at least as good as each of `scores`, which rise, with its band of 95 %."""

    name: str
    scores: Sequence[float]
    share: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def profiles(blocks: Mapping[str, Sequence[Arm]], sign: int) -> list[Profile]:
    """Return the profile of each arm that has values in all blocks, the best one on average first.

    Each block counts the same, whatever its number of runs. The band is a bootstrap within each block, the same in each
    call. Empty if less than two blocks have values or less than two arms have values in each of these.
    """
    found = {name: {arm.name: [*arm.values.values()] for arm in arms if arm.values} for name, arms in blocks.items()}
    found = {name: arms for name, arms in found.items() if arms}
    names = [name for name in next(iter(found.values()), {}) if all(name in arms for arms in found.values())]
    if len(found) < 2 or len(names) < 2:
        return []
    runs = {name: [arms[name] for arms in found.values()] for name in names}
    means = {name: sum(sum(values) / len(values) for values in each) for name, each in runs.items()}
    scores = _scores([value for each in runs.values() for values in each for value in values])
    return [_profile(name, runs[name], scores, sign) for name in sorted(names, key=lambda name: -sign * means[name])]


def _scores(values: Sequence[float]) -> list[float]:
    """Return the scores at which a share changes, evenly thinned out where there are very many."""
    scores = sorted(set(values))
    if len(scores) <= MAX_SCORES:
        return scores
    return [scores[round(place * (len(scores) - 1) / (MAX_SCORES - 1))] for place in range(MAX_SCORES)]


def _profile(name: str, blocks: Sequence[Sequence[float]], scores: Sequence[float], sign: int) -> Profile:
    """Return the profile of an arm, given its values in each block."""
    import numpy as np  # only where a profile is drawn

    draw = np.random.default_rng(0)
    share, drawn = np.zeros(len(scores)), np.zeros((DRAWS, len(scores)))
    for values in blocks:
        reached = sign * np.array(values)[:, None] >= sign * np.array(scores)  # [runs, scores]
        times = draw.multinomial(len(values), [1 / len(values)] * len(values), DRAWS)  # [draws, runs]
        share += reached.mean(0) / len(blocks)
        drawn += times @ reached / (len(values) * len(blocks))
    low, high = np.quantile(drawn, (LEVEL / 2, 1 - LEVEL / 2), axis=0)
    return Profile(name, [*scores], share.tolist(), low.tolist(), high.tolist())
