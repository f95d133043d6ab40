"""The statistics of a run's layers (`layer_stats_every`) as data for the figures of a page. Imports no torch."""

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
RECORDS = 500  # of one run in a page: about as many points as a figure has pixels in its width


@dataclass(frozen=True)
class Histogram:
    """A histogram: `counts`, which sum to ten thousand, in bins of equal width from `low` to `high`."""

    low: Number
    high: Number
    counts: list[Number]


@dataclass(frozen=True)
class Layer:
    """The statistics of a layer in one epoch; None: this kind of layer has no such quantity."""

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
    """The filters of a layer: `values` [F, C, H, W], 0 to 255."""

    layer: str
    values: list[list[list[list[int]]]]


@dataclass(frozen=True)
class LayerStats:
    """The `layer_stats` of one line of `metrics.jsonl`."""

    layers: dict[str, Layer]
    filters: Filters | None = None


def inside(arms: Sequence[Arm]) -> dict[str, Any] | None:
    """Return each quantity of each layer by epoch, and the last histograms and filters; None if no run recorded them.

    They are those of the first such run, best arm first. Raises RunError if its record is damaged.
    """
    run = next((run for arm in arms for run in arm.runs if any(row["layer_stats"] for row in run.epochs)), None)
    if run is None:
        return None
    epochs, records = _records(run)
    names = list(records[-1].layers)
    # None where a layer is missing in an earlier record, so that every curve has a value for each epoch.
    quantities = {
        quantity: {name: [getattr(record.layers.get(name), quantity, None) for record in records] for name in names}
        for quantity in QUANTITIES
    }
    last = records[-1]
    return {
        "run": run.folder.name,
        "epochs": epochs,
        "titles": layer_titles({name: layer.kind for name, layer in last.layers.items()}),
        "quantities": {
            quantity: {name: values for name, values in layers.items() if any(value is not None for value in values)}
            for quantity, layers in quantities.items()
        },
        "histograms": {
            kind: {name: _plain(getattr(layer, kind)) for name, layer in last.layers.items() if getattr(layer, kind)}
            for kind in ("activation", "gradient")
        },
        "filters": last.filters.values if last.filters else [],
    }


def _records(run: Run) -> tuple[list[int], list[LayerStats]]:
    """Return the epochs and records of a run; of more than RECORDS an even selection and the last one."""
    places = [place for place, row in enumerate(run.epochs) if row["layer_stats"]]
    # Every n-th, so that at most RECORDS are left, and the last one for the histograms.
    chosen = {*places[:: math.ceil(len(places) / RECORDS)], places[-1]}
    try:
        # From the file, line by line: all records of a long run may not fit the memory. `islice`: a run that is
        # still training may have added lines.
        lines = enumerate(itertools.islice(whole_lines(run.folder / METRICS), len(run.epochs)))
        rows = [parse_json(line) for place, line in lines if place in chosen]
        return [row["epoch"] for row in rows], [
            parse_json_as(LayerStats, json.dumps(row["layer_stats"])) for row in rows
        ]
    except ValueError as error:
        raise RunError(f"{run.folder / METRICS} is damaged: layer_stats: {error}") from None


def _plain(histogram: Histogram) -> dict[str, Any]:
    """Return the histogram as a dictionary, without copying its counts."""
    return {field.name: getattr(histogram, field.name) for field in fields(histogram)}
