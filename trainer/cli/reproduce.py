"""`python -m trainer reproduce RUN`: train a recorded run again, and compare the weights bit by bit."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.cli.common import Parser, count, device, not_empty
from trainer.data.download import refuse_download
from trainer.errors import ConfigError, RunError
from trainer.records.code import changed_files
from trainer.records.layout import LAST
from trainer.records.metrics import METRICS, further_of
from trainer.runtime.files import make_folder
from trainer.runtime.lock import locked
from trainer.storage.places import named_folder, named_run, output_root
from trainer.storage.untrusted import (
    read_json,
    refuse_earlier_version,
    validate_plain,
    validate_threads,
)

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.config.run_config import RunConfig

COMPARED = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")

DESCRIPTION = """\
Train a recorded run again, and compare the weights of the last epoch bit by bit.

The new run has its own folder under outputs/reproduced and trains as many epochs as the recorded one. On the same
machine, with the same versions and number of threads, the weights are equal to the last bit (on a GPU if the run had
deterministic=true). Otherwise the differences of versions and hardware, weights and metrics are printed."""

EPILOG = """\
examples:
  python -m trainer reproduce outputs/RUN
  python -m trainer reproduce outputs/sweeps/STUDY/RUN --data-dir data

exit code 0: equal to the last bit. 1: different, or the run cannot be read. 2: the command is wrong."""


def parser() -> Parser:
    """Return the parser of the command."""
    options = Parser("reproduce", DESCRIPTION, EPILOG)
    options.add_argument("run", metavar="RUN", help="folder of a run")
    options.add_argument(
        "--data-dir", type=not_empty, metavar="DIR", help="folder of the data; default: that of the run"
    )
    options.add_argument(
        "--device", type=device, metavar="NAME", help="auto, cpu, cuda, cuda:N, mps; default: that of the run"
    )
    options.add_argument(
        "--threads", type=count, metavar="N", help="CPU threads of torch; default: as many as the run had"
    )
    return options


def main(arguments: Sequence[str]) -> int:
    """Train the run again and print the comparison. Return 0 if all bits are equal, else 1."""
    request = parser().read(arguments)
    folder = named_folder(request.run)
    refuse_earlier_version(folder / LAST)
    if not (folder / LAST).is_file():
        named_run(request.run)  # says what it is instead
    for name in (LAST, "environment.json"):
        if not (folder / name).is_file():
            raise ConfigError(f"{request.run}: is not the folder of a run that was trained, {folder / name} is missing")
    stamps = _environments(folder)
    from trainer.runtime.console import say, waiting

    with waiting("Loading torch"):
        import torch
    # The number of threads decides in which order sums are computed, and so their last bits.
    torch.set_num_threads(request.threads or int(stamps[0]["threads"]))
    again = _train_again(folder, request.data_dir, request.device)
    equal, lines = compare(folder, again)
    say("")
    for line in lines:
        say(line)
    if equal:
        return 0
    differences = [line for stamp in stamps for line in differing(stamp, _environments(again)[-1])]
    same = "Versions, code, device and threads are the same."
    say("Differences from the recorded environment:" if differences else same)
    for line in dict.fromkeys(differences):
        say(f"  {line}")
    if len(stamps) > 1:
        commands = "; ".join(str(stamp["command"]) for stamp in stamps)
        say(f"It was started {len(stamps)} times, perhaps with other settings in between: {commands}")
    return 1


def _train_again(folder: Path, data_dir: str | None, where: str | None) -> Path:
    """Train the run as far as it was recorded. Return its new folder."""
    from trainer.config.check import check
    from trainer.config.own_record import match
    from trainer.run import train
    from trainer.storage import checkpoint
    from trainer.storage.checkpoint_state import Last
    from trainer.study.rerun import continue_hint

    state = checkpoint.load_as(Last, folder / LAST)
    if isinstance(state.config, Mapping):
        match(folder, state.config)
    try:
        config, epochs = check(validate_plain(state.config)), state.epoch
        progress = state.trainer["progress"]
    except (ConfigError, LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RunError(f"{folder / LAST} does not hold a run that this version can read: {error}") from None
    if data_dir is None:
        refuse_download(config.dataset.name, config.data_dir, folder / LAST, "--data-dir DIR")
    if progress:  # weights within an epoch: training again could only be stopped at the end of one
        raise RunError(
            f"{folder} was stopped within epoch {epochs + 1}: continue it to the end of the epoch first."
            f" {continue_hint(folder)}"
        )
    again = _new_folder(folder.resolve().name)
    # Patience is left out: it changes no weight, and the run is to end where the recorded one did.
    changes: dict[str, Any] = {"resume": None, "output_dir": None, "early_stop_patience": None}
    changes |= {"device": where or config.device, "data_dir": data_dir or config.data_dir}
    changed: RunConfig = config.model_copy(
        update={**changes, "wandb": config.wandb.model_copy(update={"mode": "disabled"})}
    )
    with locked(again):
        train(changed, again, stop_after=epochs)
    return again


def _new_folder(name: str) -> Path:
    place = make_folder(output_root() / "reproduced")
    for suffix in itertools.chain([""], (f"_{number}" for number in itertools.count(2))):
        folder = place / f"{name}{suffix}"
        try:
            folder.mkdir()  # fails if it exists, so that two commands at once never take the same folder
        except FileExistsError:
            continue
        return folder
    raise AssertionError("unreachable")


def compare(recorded: Path, again: Path) -> tuple[bool, list[str]]:
    """Return (True if all bits of the last weights are equal, the lines to print)."""
    from trainer.storage import checkpoint
    from trainer.storage.checkpoint_state import Last

    states = [checkpoint.load_as(Last, folder / LAST) for folder in (recorded, again)]
    old, new = (_weights(state.trainer, folder) for state, folder in zip(states, (recorded, again), strict=True))
    other_data = _other_data(states[0].provenance.get("data"), states[1].provenance["data"], recorded / LAST)
    hashes = [weights_hash(weights) for weights in (old, new)]
    if hashes[0] == hashes[1]:
        return True, [
            f"Equal to the last bit: {len(old)} tensors, SHA-256 of the weights {hashes[0]}",
            f"Folder: {again}",
            *other_data,  # of which only the validation images can be
        ]
    lines = [f"Different: SHA-256 of the weights {hashes[0]} then, {hashes[1]} now", f"Folder: {again}", *other_data]
    if {name: value.shape for name, value in old.items()} != {name: value.shape for name, value in new.items()}:
        reason = "their data are others" if other_data else "the trainer's code has changed"
        return False, [*lines, f"The networks are not of the same form: {reason}"]
    # In double precision, so that small differences are not rounded away. Empty tensors have no maximum.
    gaps = {name: float((old[name].double() - new[name].double()).abs().max()) for name in old if old[name].numel()}
    where = max(gaps, key=lambda name: gaps[name])
    lines.append(f"Largest difference of a weight: {gaps[where]:.3g}, in {where}")
    return False, [*lines, *_metric_differences(recorded, again)]


def _other_data(then: Any, now: Any, path: Path) -> list[str]:
    """Return a line that names what differs between the data of the recorded run and these, none if it is unknown."""
    from trainer.data.identity import data_differences
    from trainer.training.resume_check import checkpoint_errors

    with checkpoint_errors(path):
        differences = [] if then is None else data_differences(then, now)
    return [f"The data are not those of the recorded run: {', '.join(differences)}"] if differences else []


def weights_hash(weights: Mapping[str, "Tensor"]) -> str:
    """Return the SHA-256 of names, types, shapes and bytes in the order of the names, which no file format changes."""
    import hashlib

    import torch

    content = hashlib.sha256()
    for name, value in sorted(weights.items()):
        content.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        content.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return content.hexdigest()


def _weights(state: Mapping[str, Any], folder: Path) -> dict[str, "Tensor"]:
    try:
        weights = dict(state["model"])
        for weight in weights.values():
            weight.dtype  # noqa: B018  # raises where it is no tensor
        return weights
    except (LookupError, TypeError, ValueError, AttributeError):
        raise RunError(f"{folder / LAST} holds no weights") from None


def _metric_differences(recorded: Path, again: Path) -> list[str]:
    """Return lines with the largest difference of each metric over the epochs, and the first epoch that differs."""
    old, new = (_rows(folder) for folder in (recorded, again))
    lines, first = [], None
    further = {name: None for row in new.values() for name in further_of(row)}
    for name in (*COMPARED, *further):
        gaps = {
            epoch: abs(old[epoch][name] - new[epoch][name])
            for epoch in sorted(old.keys() & new.keys())
            if None not in (old[epoch].get(name), new[epoch].get(name))
        }
        apart = [epoch for epoch, gap in gaps.items() if gap > 0]
        if apart:
            worst = max(apart, key=lambda epoch: gaps[epoch])
            lines.append(f"Largest difference of {name.replace('_', ' ')}: {gaps[worst]:.3g}, in epoch {worst}")
            first = min(apart[0], first or apart[0])
    return [*lines, f"The first epoch with a difference: {first}"] if first else ["No metric differs"]


def _rows(folder: Path) -> dict[int, dict[str, Any]]:
    from trainer.records.metrics import read_metrics

    rows = {row["epoch"]: row for row in read_metrics(folder)}
    if not rows:
        raise RunError(f"{folder / METRICS} is missing or empty")
    return rows


def _environments(folder: Path) -> list[dict[str, Any]]:
    """Return the environment of each start of the run, oldest first."""
    path = folder / "environment.json"
    try:
        stamps: list[dict[str, Any]] = read_json(path)
        for stamp in stamps:
            validate_threads(stamp["threads"])
            if not isinstance(stamp["packages"], dict) or not isinstance(stamp.get("git"), dict | None):
                raise ValueError(path)
        return [stamps[0], *stamps[1:]]  # raises LookupError for an empty list
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        raise RunError(f"{path} is damaged; it should record the software and hardware of the run") from None


def differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a line such as "torch 2.6.0 then, 2.7.1 now" for each difference that may change a bit."""
    lines = []
    packages = (then["packages"], now["packages"])
    for name in sorted({*packages[0], *packages[1]} - {"wandb"}):  # which takes no part in the training
        lines += _line(name, *(each.get(name) for each in packages))
    for key in ("device", "threads", "cuda", "python", "platform", "trainer"):
        lines += _line(key, then.get(key), now.get(key))
    if files := changed_files(then, now):
        lines.append(f"code of the trainer: {files} changed")
    elif then.get("code") and now.get("code"):  # the same code, in whatever commit
        return lines
    commits = [each.get("git") or {} for each in (then, now)]
    lines += _line("commit of the trainer", *(each.get("commit") for each in commits))
    if any(each.get("dirty") for each in commits):
        lines.append("the trainer's code had changes that are in no commit")
    return lines


def _line(name: str, then: Any, now: Any) -> list[str]:
    return [] if then == now else [f"{name}: {then} then, {now} now"]
