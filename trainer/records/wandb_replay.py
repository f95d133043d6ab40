"""W&B runs written from the folders of finished runs: a study that reuses runs has them in its group as well."""

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from trainer.config.run_config import RunConfig
from trainer.errors import RunError, reason_of
from trainer.records.layout import BEST, DESCRIBED
from trainer.records.metrics import METRICS, read_metrics, row_of
from trainer.records.outcome import Outcome, read_outcome
from trainer.records.wandb_content import shown, told
from trainer.records.wandb_mirror import WandbMirror, wandb_mirror
from trainer.runtime.console import say, warn
from trainer.runtime.files import write_text
from trainer.runtime.text import counted
from trainer.storage.untrusted import parse_line, read_json, validate_run_id, whole_lines

SENT = "reused-{}"  # the mark in `wandb/` of a run whose W&B run of this id is complete
SUMMARY = {
    "best_epoch": "best_epoch",
    "best_validation_loss": "validation_loss",
    "best_validation_accuracy": "validation_accuracy",
    "train_eval_accuracy": "train_eval_accuracy",
}


def mirror_records(runs: Iterable[tuple[Path, RunConfig]]) -> None:
    """Write the W&B runs of finished runs that have none in their group, each a folder with its settings in the study.

    After the first error, which is a warning, the rest is left out. If the server cannot be reached, which is a warning
    as well, the rest is recorded offline.
    """
    missing = [(folder, config) for folder, config in runs if _is_missing(folder, config)]
    if missing:
        say(f"Recording {counted(len(missing), 'reused run')} for W&B")
    online = True
    for folder, config in missing:
        if not online:
            config = config.model_copy(update={"wandb": config.wandb.model_copy(update={"mode": "offline"})})
        mode = mirror_record(folder, config)
        if mode is None:
            break
        online = mode == config.wandb.mode == "online"


def mirror_record(folder: Path, config: RunConfig) -> str | None:
    """Write the W&B run of one finished run, without training; return the mode it was recorded in.

    Nothing is done if there is one already or under `wandb.mode=disabled`. An error is a warning, and None is returned.
    """
    if not _is_missing(folder, config):
        return config.wandb.mode
    try:
        read_metrics(folder)  # raises for a damaged file before anything is sent
        outcome, name = read_outcome(folder), _id(folder, config)
        for torn in (folder / "wandb").glob(f"*run-*-{name}"):  # of an attempt that was killed
            shutil.rmtree(torn)
        with wandb_mirror(shown(config), told(config) | {"reused": True}, folder, name) as mirror:
            _send(mirror, folder, config, outcome)
        if not mirror.listening:
            return None
        write_text(folder / "wandb" / SENT.format(name), "")
        return "offline" if mirror.folder.name.startswith("offline-run-") else "online"
    except (RunError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        warn(f"W&B gets no record of {folder}: {reason_of(error)}")
        return None


def _send(mirror: WandbMirror, folder: Path, config: RunConfig, outcome: Outcome) -> None:
    for row in _rows(folder):
        mirror.log_row(row)
    further = {f"best_{name}": value for name, value in outcome.further.items()}
    mirror.summarize({key: getattr(outcome, name) for key, name in SUMMARY.items()} | further)
    if (folder / DESCRIBED).is_file():
        best = read_json(folder / DESCRIBED)
        mirror.log_confusion(best["confusion"], best["classes"])
    if config.wandb.log_model and (folder / BEST).is_file():
        mirror.log_artifact(folder / BEST)


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a run's metrics, layer statistics included."""
    for line in whole_lines(folder / METRICS):
        yield row_of(line) | {"layer_stats": parse_line(line).get("layer_stats")}


def _is_missing(folder: Path, config: RunConfig) -> bool:
    """Return whether W&B is used and has neither the run itself nor its copy for this group."""
    if config.wandb.mode == "disabled":
        return False
    place = folder / "wandb"
    own = f"*run-*-{_run_id(folder)}"
    return not (any(place.glob(own)) or (place / SENT.format(_id(folder, config))).is_file())


def _id(folder: Path, config: RunConfig) -> str:
    """Return the id of the copy: the same for the same run and group, and another one than that of the run itself."""
    return hashlib.sha256(f"{_run_id(folder)} {config.wandb.group}".encode()).hexdigest()[:8]


def _run_id(folder: Path) -> str:
    """Return the id that a run was given when it was trained, or its folder's name if it is not known."""
    try:
        return validate_run_id(read_json(folder / "environment.json")[0]["run_id"])
    except (OSError, ValueError, LookupError, TypeError):
        return hashlib.sha256(folder.name.encode()).hexdigest()[:8]
