"""What a run recorded of its layers (`layer_stats_every`), for the figures of a page. Imports no torch."""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from trainer.config.types import Number
from trainer.errors import RunError
from trainer.records.metrics import METRICS
from trainer.reports.content import Arm
from trainer.reports.run_files import Run
from trainer.storage.untrusted import parse_json, parse_json_as, whole_lines
from trainer.techniques.layer_names import layer_titles

QUANTITIES = ("update_ratio", "gradient_norm", "weight_norm", "dead", "saturated")
RECORDS = 500  # of a run in a page: a figure is no wider


@dataclass(frozen=True)
class Histogram:
    """`counts` of ten thousand, in bins of equal width from `low` to `high`."""

    low: Number
    high: Number
    counts: list[Number]


@dataclass(frozen=True)
class Layer:
    """None: this kind of layer has none of it."""

    kind: str
    update_ratio: Number | None = None
    gradient_norm: Number | None = None
    weight_norm: Number | None = None
    dead: Number | None = None
    saturated: Number | None = None
    activation: Histogram | None = None
    gradient: Histogram | None = None


@dataclass(frozen=True)
class Filters:
    """`values` [F, C, H, W], 0 to 255."""

    layer: str
    values: list[list[list[list[int]]]]


@dataclass(frozen=True)
class LayerStats:
    layers: dict[str, Layer]
    filters: Filters | None = None


def inside(arms: Sequence[Arm]) -> dict[str, Any] | None:
    """Of the first run that recorded it, best arm first: each quantity of each layer by epoch, and the last histograms.

    Raises RunError if it is not what a run writes.
    """
    run = next((run for arm in arms for run in arm.runs if any(row["layer_stats"] for row in run.epochs)), None)
    if run is None:
        return None
    epochs, known = _records(run)
    names = list(known[-1].layers)
    quantities = {
        quantity: {name: [getattr(each.layers.get(name), quantity, None) for each in known] for name in names}
        for quantity in QUANTITIES
    }
    last = known[-1]
    return {
        "run": run.folder.name,
        "epochs": epochs,
        "titles": layer_titles({name: layer.kind for name, layer in last.layers.items()}),
        "quantities": {
            quantity: {name: values for name, values in layers.items() if any(value is not None for value in values)}
            for quantity, layers in quantities.items()
        },
        "histograms": {
            what: {name: _plain(getattr(layer, what)) for name, layer in last.layers.items() if getattr(layer, what)}
            for what in ("activation", "gradient")
        },
        "filters": last.filters.values if last.filters else [],
    }


def _records(run: Run) -> tuple[list[int], list[LayerStats]]:
    """Of a long run some, evenly, and the last: read again, as together they may be larger than the memory."""
    places = [place for place, row in enumerate(run.epochs) if row["layer_stats"]]
    chosen = {*places[:: math.ceil(len(places) / RECORDS)], places[-1]}
    try:
        lines = enumerate(itertools.islice(whole_lines(run.folder / METRICS), len(run.epochs)))
        rows = [parse_json(line) for place, line in lines if place in chosen]
        return [row["epoch"] for row in rows], [
            parse_json_as(LayerStats, json.dumps(row["layer_stats"])) for row in rows
        ]
    except ValueError as error:
        raise RunError(f"{run.folder / METRICS} is damaged: layer_stats: {error}") from None


def _plain(histogram: Histogram) -> dict[str, Any]:
    return {field.name: getattr(histogram, field.name) for field in fields(histogram)}
