"""The ledger of the test set, `outputs/test_readings.jsonl`: one line per reading, with the hash of the previous line.

An edited, moved or deleted line breaks this chain. A second file, `test_readings.head`, holds the number of lines and
the hash of the last one, so that deleted last lines are detected too. The chain guards against accidents, not against
someone who computes all hashes anew.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from trainer.errors import RunError
from trainer.records.layout import MANIFEST, SWEEPS
from trainer.runtime.files import make_folder, open_regular
from trainer.runtime.lock import acquire
from trainer.runtime.text import counted
from trainer.storage.places import output_root
from trainer.storage.untrusted import parse_json_as, read_json, validate_file_name, whole_lines

LEDGER = "test_readings.jsonl"
MAX_HEAD = 200  # bytes that are read of the head, far above its length
NOTHING = "0" * 64  # the hash of the previous line, in the first line


@dataclass(frozen=True)
class Network:
    """The scores of one network, the folder of its run, the SHA-256 of its checkpoint, and its study if it has one."""

    run: str
    checkpoint: str
    study: str | None
    accuracy: float
    calibration_error: float


@dataclass(frozen=True)
class Measurement:
    """The content of a reading. `accuracy`: of the ensemble if there is one, else the mean over `networks`.

    `data`: the fingerprint of the test images. `images`: their number. `why`: the reason that the user gave.
    """

    networks: tuple[Network, ...]
    data: str
    images: int
    accuracy: float
    ensemble: Mapping[str, int | float] | None
    why: str | None


@dataclass(frozen=True, kw_only=True)
class Reading(Measurement):
    """One line: a measurement with its number and time.

    `before`: the SHA-256 of the previous line. `digest`: the SHA-256 of this line, which the line cannot contain.
    """

    number: int
    when: str
    before: str
    digest: str = ""

    def concerns(self, study: str) -> bool:
        """Return whether a network of this study was scored. Only the id is compared: a study may have been renamed."""
        return any(network.study and _id(network.study) == _id(study) for network in self.networks)


def own_ledger() -> Path:
    """Return the ledger of the output root."""
    return output_root() / LEDGER


def ledger_of(run: Path) -> Path:
    """Return the ledger of the output root that contains this run or study; else that of the current output root."""
    # A run of another project is entered in that project's ledger, whatever the current folder is.
    root = output_root()
    above = [parent for parent in run.resolve().parents if _is_root(parent, run.resolve())]
    return above[0] / LEDGER if above and above[0] != root.resolve() else own_ledger()


def _is_root(folder: Path, inside: Path) -> bool:
    """Return whether a folder above a run is one of outputs: by its name, or as one of its studies lies in `sweeps`."""
    below = inside.relative_to(folder).parts
    studies = below[:1] == (SWEEPS,) and len(below) > 1 and (folder / SWEEPS / below[1] / MANIFEST).is_file()
    return folder.name == "outputs" or folder == output_root().resolve() or studies


def study_of(run: Path) -> str | None:
    """Return the study that this run belongs to, as "name-id", or None."""
    folder = next((parent for parent in run.resolve().parents if (parent / MANIFEST).is_file()), None)
    return None if folder is None else study_name(folder)


def study_name(folder: Path) -> str:
    """Return "name-id" from the manifest of a study. Raises RunError if it is damaged."""
    try:  # not from the name of the folder, which may have been renamed
        manifest = read_json(folder / MANIFEST)
        return validate_file_name(f"{manifest['name']}-{manifest['id']}")
    except (ValueError, LookupError, TypeError):
        raise RunError(f"{folder / MANIFEST} is damaged") from None


def readings(study: Path) -> list[Reading]:
    """Return the readings of the test set for the study in this folder. Raises RunError as `read_ledger` does."""
    name = study_name(study)
    return [reading for reading in read_ledger(ledger_of(study / MANIFEST)) if reading.concerns(name)]


def read_ledger(ledger: Path) -> list[Reading]:
    """Return all readings, oldest first. Raises RunError that names the first changed line."""
    # Nothing is created for a reader: without both files no reading was ever written.
    if not ledger.exists() and not _head(ledger).exists():
        return []
    with contextlib.ExitStack() as locks:
        with contextlib.suppress(OSError, RunError):  # whoever may not write here reads without the lock
            locks.enter_context(_locked(ledger))
        return _verified(ledger)


def refuse_unwritable(ledger: Path) -> None:
    """Raise RunError if no reading could be entered in the ledger, before the test set is read in vain."""
    try:
        with _locked(ledger), tempfile.TemporaryFile(dir=ledger.parent):
            pass
    except (OSError, RunError) as error:
        reason = error.strerror or error if isinstance(error, OSError) else error
        raise RunError(
            f"{ledger} cannot be written ({reason}), and no test set is read without a line there. The ledger lies in"
            " the folder of outputs that holds the run, else in that of the current folder: start the command where"
            " that can be written"
        ) from None


def append(ledger: Path, measurement: Measurement) -> Reading:
    """Append a reading, flushed to the disk as a complete line or not at all; one process at a time."""
    from trainer.runtime.files import write_text

    with _locked(ledger):
        earlier = _verified(ledger)
        moment = datetime.now(timezone.utc).isoformat(timespec="seconds")
        before = earlier[-1].digest if earlier else NOTHING
        reading = Reading(number=len(earlier) + 1, when=moment, before=before, **vars(measurement))
        values = asdict(reading)
        del values["digest"]
        line = json.dumps(values, ensure_ascii=False, allow_nan=False)
        # The hash covers the bytes as written, without the newline: no second serialization, whose details may vary.
        digest = hashlib.sha256(line.encode()).hexdigest()
        if not earlier:  # so that a head missing later means that somebody has removed it
            write_text(_head(ledger), f"0 {NOTHING}\n")
        # The ledger before its head: a kill between the two leaves one line more than the head counts, which
        # `_verified` accepts. In the other order a kill would look like a deleted line. Each file is replaced as a
        # whole, since an interrupted append could leave half a line.
        write_text(ledger, "".join(f"{text}\n" for text in (*_lines(ledger), line)))
        write_text(_head(ledger), f"{reading.number} {digest}\n")
    return replace(reading, digest=digest)


def same_networks(earlier: Sequence[Reading], digests: Sequence[str]) -> list[Reading]:
    """Return the readings that scored one of these checkpoints, given by their SHA-256; a copy has the same one."""
    return [entry for entry in earlier if not set(digests).isdisjoint(network.checkpoint for network in entry.networks)]


def _verified(ledger: Path) -> list[Reading]:
    """Return all readings after a check of the chain. Raises RunError."""
    earlier = list[Reading]()
    for number, line in enumerate(_lines(ledger), 1):
        where = f"{ledger}, line {number}"
        try:
            reading = replace(parse_json_as(Reading, line), digest=hashlib.sha256(line.encode()).hexdigest())
        except (ValueError, LookupError, TypeError):
            raise _broken(f"{where} is not as it was written: it cannot be read") from None
        if reading.number != number:
            raise _broken(f"{where} holds reading {reading.number}: lines were taken out, added or moved")
        # A mismatch means that the previous line was edited, as this one only quotes its hash.
        if reading.before != (earlier[-1].digest if earlier else NOTHING):
            raise _broken(f"{ledger}, line {max(number - 1, 1)} is not as it was written: its hash does not match")
        earlier.append(reading)
    # The chain cannot show that its last lines are missing or that the very last one was edited; the head can.
    length, digest = _expected(ledger)
    if earlier and not digest:
        raise _broken(f"{_head(ledger)} is missing or empty: it holds the hash of {ledger}, line {len(earlier)}")
    if length > len(earlier):
        raise _broken(f"{ledger}, line {len(earlier) + 1} is missing: the head counts {counted(length, 'reading')}")
    if length and earlier[length - 1].digest != digest:
        raise _broken(f"{ledger}, line {length} is not as it was written: its hash does not match")
    if len(earlier) > length + 1:  # a kill between the two files leaves one line more
        raise _broken(f"{_head(ledger)} is not as it was written: {ledger} has {len(earlier)} lines")
    return earlier


def _broken(reason: str) -> RunError:
    return RunError(f"{reason}. The test set stays closed until the ledger is restored from a copy")


def _expected(ledger: Path) -> tuple[int, str]:
    """Return (number of lines, hash of the last one) from the head, or (0, "") if the head is missing or empty."""
    head = _head(ledger)
    words = head.read_bytes()[:MAX_HEAD].split() if head.is_file() else []
    if not words:
        return 0, ""
    if len(words) != 2 or not words[0].isdigit():  # of bytes: ASCII digits alone
        raise _broken(f"{head} is not as it was written")
    return int(words[0]), words[1].decode(errors="replace")


def _lines(ledger: Path) -> Iterator[str]:
    try:
        for line in whole_lines(ledger):
            yield line[:-1].decode()
    except ValueError:
        raise _broken(f"{ledger} is not as it was written: it is not a text file of lines") from None


def _head(ledger: Path) -> Path:
    return ledger.with_suffix(".head")


@contextlib.contextmanager
def _locked(ledger: Path) -> Iterator[None]:
    """Hold the lock of the ledger while the block runs, for readers too; wait for it first."""
    make_folder(ledger.parent)
    # On a file of its own: the ledger itself is replaced at each append, which would leave the lock on the old file.
    with os.fdopen(open_regular(ledger.with_suffix(".lock"), os.O_RDWR | os.O_CREAT), "r+b") as lock:
        acquire(lock.fileno(), wait=True)
        yield


def _id(study: str) -> str:
    return study.rpartition("-")[2]  # of "name-id"; the name may hold dashes, the id does not
