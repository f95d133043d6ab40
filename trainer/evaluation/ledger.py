"""The ledger of the test set, `outputs/test_readings.jsonl`: every reading is a line that holds the hash of the last.

A line that is edited, moved or taken out breaks the chain there; a file beside it holds the length and the last hash,
so that the end cannot be cut off. It guards against a slip, not against someone who computes the whole chain anew.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from trainer.errors import RunError
from trainer.records.layout import MANIFEST
from trainer.runtime.files import open_regular
from trainer.runtime.lock import acquire
from trainer.storage.untrusted import parse_json_as, read_json, validate_file_name, whole_lines

LEDGER = Path("outputs") / "test_readings.jsonl"
NOTHING = "0" * 64  # what the first line holds for the hash of the one before


@dataclass(frozen=True)
class Network:
    """One network that was scored: the run's folder, the SHA-256 of its checkpoint, the study it belongs to."""

    run: str
    checkpoint: str
    study: str | None
    accuracy: float
    calibration_error: float


@dataclass(frozen=True)
class Reading:
    """One line. `accuracy` is the ensemble's where there is one, else the mean over `networks`.

    `data`: fingerprint of the test images. `before`: the SHA-256 of the line before. `digest`: that of this line,
    which does not stand in it.
    """

    number: int
    when: str
    networks: tuple[Network, ...]
    data: str
    images: int
    accuracy: float
    ensemble: Mapping[str, int | float] | None
    why: str | None
    before: str
    digest: str = ""

    def concerns(self, study: str) -> bool:
        """Whether it was taken for this study, whatever name that had: the id at the end is what counts."""
        return any(each.study and _id(each.study) == _id(study) for each in self.networks)


def ledger_of(run: Path) -> Path:
    """The ledger in the `outputs` that a run or study lies in, from wherever it is asked; else that of this folder."""
    above = [parent for parent in run.resolve().parents if parent.name == LEDGER.parent.name]
    return above[0] / LEDGER.name if above and above[0] != LEDGER.parent.resolve() else LEDGER


def study_of(run: Path) -> str | None:
    """The study whose folder holds this run, as "name-id", or None."""
    folder = next((parent for parent in run.resolve().parents if (parent / MANIFEST).is_file()), None)
    return None if folder is None else study_name(folder)


def study_name(folder: Path) -> str:
    """Of a study's folder "name-id", as its manifest says it: a folder may have been renamed."""
    try:
        manifest = read_json(folder / MANIFEST)
        return validate_file_name(f"{manifest['name']}-{manifest['id']}")
    except (ValueError, LookupError, TypeError):
        raise RunError(f"{folder / MANIFEST} is damaged") from None


def readings(study: Path) -> list[Reading]:
    """The readings of the test set that were taken for the study in this folder. Raises RunError as `verified`."""
    name = study_name(study)
    return [reading for reading in read_ledger(ledger_of(study / MANIFEST)) if reading.concerns(name)]


def read_ledger(ledger: Path) -> list[Reading]:
    """Every reading, oldest first. Raises RunError naming the line that is not as it was written."""
    if not ledger.exists() and not _head(ledger).exists():
        return []
    with _alone(ledger):
        return _verified(ledger)


def append(
    ledger: Path,
    networks: Sequence[Network],
    data: str,
    images: int,
    accuracy: float,
    ensemble: Mapping[str, int | float] | None,
    why: str | None,
) -> Reading:
    """Writes a reading down, whole and flushed to the disk, or not at all; one process at a time."""
    from trainer.runtime.files import write_text

    with _alone(ledger):
        known = _verified(ledger)
        moment = datetime.now(timezone.utc).isoformat(timespec="seconds")
        before = known[-1].digest if known else NOTHING
        reading = Reading(len(known) + 1, moment, tuple(networks), data, images, accuracy, ensemble, why, before)
        values = asdict(reading)
        del values["digest"]
        line = json.dumps(values, ensure_ascii=False, allow_nan=False)
        digest = hashlib.sha256(line.encode()).hexdigest()
        if not known:  # from the first line on the file beside it is there, or somebody has removed it
            write_text(_head(ledger), f"0 {NOTHING}\n")
        write_text(ledger, "".join(f"{text}\n" for text in (*_lines(ledger), line)))
        write_text(_head(ledger), f"{reading.number} {digest}\n")
    return Reading(**{**vars(reading), "digest": digest})


def same_networks(known: Sequence[Reading], digests: Sequence[str]) -> list[Reading]:
    """The readings in which one of these checkpoints, or a copy of it, was scored."""
    return [reading for reading in known if not set(digests).isdisjoint(each.checkpoint for each in reading.networks)]


def _verified(ledger: Path) -> list[Reading]:
    known = list[Reading]()
    for number, line in enumerate(_lines(ledger), 1):
        where = f"{ledger}, line {number}"
        try:
            reading = replace(parse_json_as(Reading, line), digest=hashlib.sha256(line.encode()).hexdigest())
        except (ValueError, LookupError, TypeError):
            raise _broken(f"{where} is not as it was written: it cannot be read") from None
        if reading.number != number:
            raise _broken(f"{where} holds reading {reading.number}: lines were taken out, added or moved")
        if reading.before != (known[-1].digest if known else NOTHING):
            raise _broken(f"{ledger}, line {max(number - 1, 1)} is not as it was written: its hash is another")
        known.append(reading)
    length, digest = _expected(ledger)
    if known and not digest:
        raise _broken(f"{_head(ledger)} is missing or empty: it says how {ledger}, line {len(known)} ended")
    if length > len(known):
        raise _broken(f"{ledger}, line {len(known) + 1} is missing: {length} readings were written")
    if length and known[length - 1].digest != digest:
        raise _broken(f"{ledger}, line {length} is not as it was written: its hash is another")
    if len(known) > length + 1:  # a kill leaves one
        raise _broken(f"{_head(ledger)} is not as it was written: {ledger} has {len(known)} lines")
    return known


def _broken(what: str) -> RunError:
    return RunError(f"{what}. The test set stays closed until the ledger is restored from a copy")


def _expected(ledger: Path) -> tuple[int, str]:
    """(number of lines, hash of the last); after a kill between both files the ledger may have one line more."""
    head = _head(ledger)
    words = head.read_text(encoding="utf-8").split() if head.is_file() else []
    if not words:
        return 0, ""
    if len(words) != 2 or not words[0].isdecimal():
        raise _broken(f"{head} is not as it was written")
    return int(words[0]), words[1]


def _lines(ledger: Path) -> Iterator[str]:
    try:
        for line in whole_lines(ledger):
            yield line[:-1].decode()
    except ValueError:
        raise _broken(f"{ledger} is not as it was written: it is no text of lines") from None


def _head(ledger: Path) -> Path:
    return ledger.with_suffix(".head")


@contextlib.contextmanager
def _alone(ledger: Path) -> Iterator[None]:
    """Waits for whoever reads or writes the ledger at the moment."""
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(open_regular(ledger.with_suffix(".lock"), os.O_RDWR | os.O_CREAT), "r+b") as lock:
        acquire(lock.fileno(), wait=True)
        yield


def _id(study: str) -> str:
    return study.rpartition("-")[2]
