"""The difference of two arms on other images of the same kind, from which image each run classified correctly.

The validation images are a sample, too. Arms that are scored on the same images differ on others by more than the
spread between their seeds shows: by the spread of the images' own differences. No torch is imported.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Hits = Mapping[str, "NDArray[np.bool_]"]  # by replicate, one bit for each validation image


@dataclass(frozen=True)
class OtherImages:
    """The standard error of a difference of accuracies for new seeds and new images, with its degrees of freedom."""

    error: float
    df: float
    images: int


def other_images(first: Hits, second: Hits, paired: bool) -> OtherImages | None:
    """Return how certain the difference of two arms is on other images; None unless all runs were scored on the same.

    V = s₁²/n₁ + s₂²/n₂ + max(0, Var(d) − W)/m over m images: d are the images' mean differences, of which W is the part
    that comes from the seeds and would vanish with many of them. Degrees of freedom by Satterthwaite. `paired`: the
    seeds are the same in both arms, and the spread is that of their differences.
    """
    import numpy as np

    a, b = (np.stack(list(hits.values())).astype(float) for hits in (first, second))
    images = a.shape[1]
    if images < 2 or b.shape[1] != images or min(len(a), len(b)) < 2:
        return None
    differences = [a - np.stack([second[key] for key in first])] if paired else [a, b]
    # A run's accuracy is the mean of its hits, so its variance between seeds is that of the row means.
    seeds = [each.mean(1).var(ddof=1) / len(each) for each in differences]
    within = sum(each.var(0, ddof=1).mean() / len(each) for each in differences)
    between = max(0.0, float((a.mean(0) - b.mean(0)).var(ddof=1)) - within) / images
    total = float(sum(seeds)) + between
    if total <= 0:
        return None
    parts = [*((part, len(each) - 1) for part, each in zip(seeds, differences, strict=True)), (between, images - 1)]
    weight = float(sum(part**2 / df for part, df in parts))
    return OtherImages(math.sqrt(total), math.floor(10 * total**2 / weight + 1e-9) / 10, images)
