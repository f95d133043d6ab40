"""Which validation images a run classified correctly, one bit an image: `hits.json` in its folder. Imports no torch.

The file holds `images`, their number, and by the rule that chose the epochs a text of hexadecimal digits: `best` (the
epoch of the lowest validation loss), `last` (the last validated epoch), `cross` (each half of the images at the epoch
that is best on the other half; missing with fewer than two images). The first image is the highest bit of the first
byte; the bits behind the last image are 0. The images come in the order of the validation part, which is the same for
all runs with the same data set, its options and `split_seed`.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainer.errors import RunError
from trainer.records.layout import HITS
from trainer.storage.checksums import write_record
from trainer.storage.untrusted import read_json

if TYPE_CHECKING:
    from trainer.training.trainer import ClassificationTrainer

MAX_IMAGES = 10**8


def write_hits(folder: Path, trainer: "ClassificationTrainer") -> None:
    """Write the hits of a run that has validation images. Raises RunError if the file cannot be written."""
    if trainer.validator:
        known = {rule: hits.numpy(force=True) for rule, hits in trainer.validator.hits.known().items()}
        texts = {rule: np.packbits(hits).tobytes().hex() for rule, hits in known.items()}
        write_record(folder / HITS, json.dumps({"images": len(trainer.validator.correct), **texts}) + "\n")


def read_hits(folder: Path, rule: str) -> NDArray[np.bool_] | None:
    """Return whether a run classified each validation image [N] correctly, in the epoch that the rule chose.

    `rule`: cross, best or last. None if it was not recorded: by an earlier version, for another rule, or while the run
    still trains. Raises RunError if the file is damaged.
    """
    path = folder / HITS
    try:
        return _bits(read_json(path), rule) if path.is_file() else None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error}). Remove it: the run itself is complete") from None


def _bits(tree: Any, rule: str) -> NDArray[np.bool_] | None:
    images, text = (tree.get("images"), tree.get(rule)) if isinstance(tree, dict) else (None, None)
    if type(images) is not int or not 0 <= images <= MAX_IMAGES:
        raise ValueError(f"images: must be a whole number up to {MAX_IMAGES}")
    if text is None or rule == "images":
        return None
    size = -(-images // 8)
    if not isinstance(text, str) or len(text) != 2 * size:
        raise ValueError(f"{rule}: must be {2 * size} hexadecimal digits, for {images} images")
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8), count=images).astype(bool)
