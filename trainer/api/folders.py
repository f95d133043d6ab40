"""The runs and studies of a folder: `trainer.load`. Imports no torch."""

import os

from trainer.api.given import Techniques, own_techniques
from trainer.api.runs import Run
from trainer.api.studies import Study
from trainer.records.layout import MANIFEST
from trainer.storage.places import RUN, named_place, named_run


def load(path: str | os.PathLike[str], techniques: Techniques = None) -> Run | Study:
    """Return the run or study in a folder, whoever trained it. Nothing in the folder is executed.

    `techniques`: the own ones that `model()` or `resume()` of its runs need; the folder holds copies to read.

    Raises ConfigError if the path is neither a run nor a study, with what was probably meant.

    >>> trainer.load(run.folder).result.epochs
    2
    """
    own = own_techniques(techniques)
    folder = named_place(os.fspath(path))
    if (folder / MANIFEST).is_file():
        return Study(folder, own)
    return Run(folder if (folder / RUN).is_file() else named_run(str(path)), own)
