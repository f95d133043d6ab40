"""The statistics of a run's layers (`layer_stats_every`), for the figures of a page. Imports no torch."""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from trainer.config.types import Number
from trainer.errors import RunError
from trainer.records.metrics import METRICS
from trainer.reports.content import ArmReport
from trainer.reports.run_files import Run
from trainer.storage.untrusted import parse_json_as, parse_line, whole_lines
from trainer.techniques.layer_names import layer_titles

QUANTITIES = ("update_ratio", "gradient_norm", "weight_norm", "dead", "saturated")
MAX_RECORDS = 500  # of a run in a page: a figure has no more pixels


@dataclass(frozen=True)
class Histogram:
    """A histogram: `counts` of ten thousand values, in bins of equal width from `low` to `high`."""

    low: Number
    high: Number
    counts: list[Number]


@dataclass(frozen=True)
class Layer:
    """The statistics of a layer; None for those that this kind of layer does not have."""

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
    """The filters of a layer; `values` [F, C, H, W] are 0 to 255."""

    layer: str
    values: list[list[list[list[int]]]]


@dataclass(frozen=True)
class LayerStats:
    """The record of one epoch."""

    layers: dict[str, Layer]
    filters: Filters | None = None


def layer_figures(arms: Sequence[ArmReport]) -> dict[str, Any] | None:
    """Return each quantity of each layer by epoch, and the last histograms, of the best arm's first run with records.

    None if no run has any. Raises RunError if a run's records are damaged.
    """
    run = next((run for arm in arms for run in arm.runs if any(row["layer_stats"] for row in run.epochs)), None)
    if run is None:
        return None
    epochs, records = _records(run)
    last = records[-1]
    quantities = {
        quantity: {name: [getattr(stats.layers.get(name), quantity, None) for stats in records] for name in last.layers}
        for quantity in QUANTITIES
    }
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
    """Return the epochs and records of a run; of many some at even distances, and the last.

    They are read again from the file: all records of all runs together may not fit into memory.
    """
    places = [place for place, row in enumerate(run.epochs) if row["layer_stats"]]
    # Every n-th record, so that the distances are even, and the last one for the histograms.
    chosen = {*places[:: math.ceil(len(places) / MAX_RECORDS)], places[-1]}
    try:
        # islice: a run that is still training may have written more lines since its epochs were read.
        numbered = enumerate(whole_lines(run.folder / METRICS), 1)
        intact = (line for number, line in numbered if number not in run.damaged_lines)
        lines = enumerate(itertools.islice(intact, len(run.epochs)))
        rows = [parse_line(line) for place, line in lines if place in chosen]
        return [row["epoch"] for row in rows], [
            parse_json_as(LayerStats, json.dumps(row["layer_stats"])) for row in rows
        ]
    except ValueError as error:
        raise RunError(f"{run.folder / METRICS} is damaged: layer_stats: {error}") from None


def _plain(histogram: Histogram) -> dict[str, Any]:
    return {field.name: getattr(histogram, field.name) for field in fields(histogram)}
