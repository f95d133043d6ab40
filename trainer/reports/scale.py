"""The scale on which a figure shows numbers. Imports no torch."""

from collections.abc import Sequence

LOG_RATIO = 100  # numbers that span this factor are shown on a logarithmic scale


def is_log(numbers: Sequence[float], stated: bool | None = None) -> bool:
    """Return whether finite numbers are shown on a logarithmic scale: as it is stated, else if they span `LOG_RATIO`.

    Numbers that are not all positive never are.
    """
    least = min(numbers, default=0.0)
    return least > 0 and (max(numbers) / least >= LOG_RATIO if stated is None else stated)
