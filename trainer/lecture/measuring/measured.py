"""A measure of a claim taken of a run: of its record, or of its trained network. Imports torch only for the latter."""

import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.lecture.measuring.runs import RunRecord
from trainer.lecture.named import PROBES, Named, functions
from trainer.records.layout import BEST

if TYPE_CHECKING:
    from trainer.lecture.measuring.trained import Trained


def measured(measure: Named, run: RunRecord) -> float:
    """Return a measure of a run: nan if it cannot be measured in it, inf for what never came.

    A run that has not finished has no trained network: what is measured of one is nan. Raises RunError if the files of
    a finished run cannot be read.
    """
    if functions("measure")[measure.take][0] != PROBES:
        return float(measure.call("measure", run))
    if run.outcome.state != "finished":
        return math.nan
    path = run.folder / BEST
    return float(measure.call("measure", _trained(run.folder, path.stat().st_mtime_ns if path.is_file() else 0)))


@lru_cache(maxsize=1)  # the probes of one run follow each other
def _trained(folder: Path, changed: int) -> "Trained":
    """Return the trained network of a run's folder. `changed`: the time of its file, as it may be trained anew."""
    from trainer.lecture.measuring.trained import Trained

    return Trained.load(RunRecord.read(folder))
