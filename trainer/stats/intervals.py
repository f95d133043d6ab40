"""Intervals of shares. Imports no torch."""

import math

Z_TWO_SIDED = 1.959964  # 95 % of a normal distribution lie within ±Z
Z_ONE_SIDED = 1.644854  # 95 % of a normal distribution lie below Z


def wilson(share: float, count: int, z: float = Z_TWO_SIDED) -> tuple[float, float]:
    """Return the interval of a share that was observed in `count` cases, 95 % for the default `z`. Wilson 1927."""
    square = z * z / count
    middle = (share + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)
