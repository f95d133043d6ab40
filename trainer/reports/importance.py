"""The points of a search on their axes, and the importance of each setting, for the figures of a page."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.reports.scale import is_log
from trainer.study.axes import Axis
from trainer.study.search import importance

MIN_POINTS = 8  # with fewer an importance is noise


def described(tried: Sequence[tuple[Mapping[str, str], float]], texts: Sequence[str]) -> dict[str, Any]:
    """Return `axes`, `values` and `importance` of points with their values, as plain values.

    `texts`: the axes as they would be typed, such as "lr=tag(log,interval(1e-05,0.1))".

    Each axis has its key, the values of the points, whether it is logarithmic, and the labels of categories.
    """
    keys = [text.partition("=")[0] for text in texts]
    axes = [
        _axis(key, [point.get(key, "—") for point, _ in tried], _scale(text))
        for key, text in zip(keys, texts, strict=True)
    ]
    values = [value for _, value in tried]
    return {"axes": axes, "values": values, "importance": _importance(axes, values)}


def _scale(text: str) -> bool | None:
    """Return whether an interval is logarithmic; None for listed values, whose ratio decides."""
    return text.partition("=")[2].startswith("tag(log") if "interval(" in text else None


def _axis(key: str, texts: Sequence[str], stated: bool | None) -> dict[str, Any]:
    """Return numbers as they are, categories as 0, 1, 2 in the order of their first appearance."""
    try:
        numbers = [float(text) for text in texts]
        if not all(map(math.isfinite, numbers)):
            raise ValueError("no figure can show it")
    except ValueError:
        labels = list(dict.fromkeys(texts))  # a value that is no finite number makes categories of all
        return {"key": key, "values": [labels.index(text) for text in texts], "log": False, "labels": labels}
    return {"key": key, "values": numbers, "log": is_log(numbers, stated), "labels": None}


def _importance(axes: Sequence[Mapping[str, Any]], values: Sequence[float]) -> dict[str, float]:
    """Return the importance by key; {} for too few points, equal values, or a single setting."""
    varied = [axis for axis in axes if len(set(axis["values"])) > 1]
    if len(values) < MIN_POINTS or len(set(values)) < 2 or len(varied) < 2:
        return {}
    # Numbers are given to fANOVA by their observed range: it knows nothing beyond the points.
    spaces, columns = list[Axis](), dict[str, list[Any]]()
    for axis in varied:
        key, labels, numbers = axis["key"], axis["labels"], axis["values"]
        ends = {"low": min(numbers), "high": max(numbers), "log": axis["log"]}
        spaces.append(Axis(key, texts=tuple(labels)) if labels else Axis(key, **ends))
        columns[key] = [labels[number] for number in numbers] if labels else numbers
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return importance(spaces, rows, values)
