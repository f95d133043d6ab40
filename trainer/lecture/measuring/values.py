"""The values of a measure by a further setting, and what all reductions of them share. Imports no torch."""

import math
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

Values = Mapping[str, float]


def known(reduction: Callable[..., float]) -> Callable[..., float]:
    """Return a reduction that is nan where a value is, or where there is none."""

    @wraps(reduction)
    def reduced(values: Values, *others: Values, **options: Any) -> float:
        groups = [list(each.values()) for each in (values, *others)]
        unknown = any(not group or any(map(math.isnan, group)) for group in groups)
        return math.nan if unknown else float(reduction(values, *others, **options))

    return reduced


def minus(first: float, second: float) -> float:
    """Return the difference, 0 of two equal ones, also if both are infinite."""
    return 0.0 if first == second else first - second
