"""Kill a run or a study repeatedly, start it again each time, and compare it with an undisturbed one.

python scripts/kill_and_resume.py --kills 50                        half over a run, half over a study of three
python scripts/kill_and_resume.py --kills 20 dataset=digits epochs=60 augmentation=lecture
python scripts/kill_and_resume.py --kills 2 -m experiment=weight_decay dataset=mnist data_dir=/data seed=0,1,2 epochs=3

Every kill is a SIGKILL, in turn at a random moment, during the writing of a checkpoint, and of a line of metrics.
Compared are the hashes of all state in `last.safetensors` and `best.safetensors`, `best.json`, what `result.json` says
of the end, the metrics but for their times, and of a study the table; after each kill every file must be readable.
Exit code 1 if anything differs. `--seed` repeats the draws.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from trainer.cli.main import main as main_of_program
from trainer.errors import ConfigError, RunError
from trainer.runtime.files import WRITING
from trainer.storage import checkpoint
from trainer.storage.untrusted import parse_line, read_config, read_json, whole_lines

# What measures time, and the checksum of a record that holds it.
TIMES = ("epoch_seconds", "images_per_second", "seconds", "device", "checksum")
# Everything that has a memory: dropout, augmentation, moments, an average, a plateau, a checkpoint within the epoch.
TINY = [
    "dataset=digits",
    "device=cpu",
    "wandb.mode=disabled",
    "model=mlp",
    "model.hidden=[32]",
    "early_stop_patience=null",
]
TINY += ["dropout=0.2", "augmentation=crop", "regularization=ema", "scheduler=plateau", "checkpoint_minutes=0.002"]
TINY += [f"data_dir={tempfile.gettempdir()}"]  # the same for both: a study's name depends on where its data lie
KINDS = ("any moment", "checkpoint", "metrics")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options, arguments = parser.parse_known_args()
    draw, half = random.Random(options.seed), options.kills // 2
    # A killed process has done two saves on average, and the run is to outlast them all.
    study = ["-m", *TINY, "lr=0.001,0.003,0.01", f"epochs={1 + half}"]
    plans = [(arguments, options.kills)] if arguments else [([*TINY, f"epochs={2 + 2 * half}"], half), (study, half)]
    wrong = sum(prove(each, kills, draw) for each, kills in plans)
    print(f"{wrong} differences or unreadable files in all", flush=True)
    sys.exit(1 if wrong else 0)


def prove(arguments: list[str], kills: int, draw: random.Random) -> int:
    """Return the number of differences between an undisturbed run or study and one that was killed `kills` times."""
    study = bool({"-m", "--multirun"} & set(arguments))
    with tempfile.TemporaryDirectory() as temporary:
        calm, wild = Path(temporary) / "calm", Path(temporary) / "wild"
        started = time.monotonic()
        code = ended(start(arguments, calm, study))
        seconds = time.monotonic() - started
        print(f"{'study' if study else 'run'} undisturbed: {seconds:.1f} s, exit code {code}", flush=True)
        wrong, done = 0, dict.fromkeys(KINDS, 0)
        for number in range(kills):
            kind = KINDS[number % len(KINDS)]
            if not killed(start(arguments, wild, study), wild, kind, draw, seconds):
                print("it had ended before", flush=True)
                break
            done[kind] += 1
            torn = len(list(wild.rglob(f".*.{WRITING}")))
            unreadable = broken(wild)
            wrong += len(unreadable)
            print(
                f"kill {number + 1} ({kind}): {progress(wild)}, {torn} half-written {' '.join(unreadable)}", flush=True
            )
        again = ended(start(arguments, wild, study))
        wrong += compare(calm, wild) + (again != code)
        left = [path.name for path in wild.rglob(f".*.{WRITING}")]
        print(
            f"after {sum(done.values())} kills {done}: exit code {again}, {wrong} wrong, left over: {left}", flush=True
        )
    return wrong + len(left)


def start(arguments: list[str], folder: Path, study: bool) -> int:
    """Fork the program off this process, which has loaded torch: a kill costs one second and not ten. Return its id.

    A study continues by its own command, a run by `resume` once it has a folder.
    """
    folder.mkdir(exist_ok=True)
    if not study:
        arguments = ["resume=run"] if (folder / "run" / "config.yaml").is_file() else [*arguments, "output_dir=run"]
    process = os.fork()
    if process:
        return process
    os.chdir(folder)
    output = os.open("output.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = ["trainer", *arguments]
    os._exit(main_of_program(arguments))


def ended(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def killed(process: int, folder: Path, kind: str, draw: random.Random, seconds: float) -> bool:
    """Kill a process at a moment of the given kind. Return False if it had ended before.

    `seconds`: the duration without kills, from which a random moment is drawn.
    """
    events, seen = draw.randint(1, 3), _events(folder, kind)
    moment = time.monotonic() + draw.uniform(0, 0.5) * seconds
    while (time.monotonic() < moment) if kind == "any moment" else events:
        if os.waitpid(process, os.WNOHANG)[0]:
            return False
        time.sleep(0.0003)
        if kind != "any moment" and (now := _events(folder, kind)) != seen:
            events, seen = events - bool(now), now
    time.sleep(draw.uniform(0, 0.004) if kind != "any moment" else 0)
    os.kill(process, signal.SIGKILL)
    return ended(process) == -signal.SIGKILL


def _events(folder: Path, kind: str) -> frozenset[Any]:
    """Return what changes with each write: partly written checkpoints, or the sizes of the metrics files."""
    runs = [folder / "run", *folder.glob("outputs/sweeps/*/*")]
    if kind == "checkpoint":
        return frozenset(path.name for run in runs for path in run.glob(f".*.safetensors.*.{WRITING}"))
    return frozenset((path, path.stat().st_size) for run in runs for path in run.glob("metrics.jsonl"))


def progress(folder: Path) -> str:
    lines = [len(path.read_text().splitlines()) for path in folder.rglob("metrics.jsonl")]
    trainers = [_state(path).get("trainer", {}) for path in folder.rglob("last.safetensors")]
    steps = [(each.get("progress") or {"step": 0})["step"] for each in trainers]
    return f"{len(lines)} runs begun, {sum(lines)} epochs, {sum(steps)} steps within one"


def broken(folder: Path) -> list[str]:
    """Return the files that cannot be read. The last line of metrics may be torn, as a reader drops it."""
    readers: dict[str, Callable[[Path], Any]] = {
        "*.safetensors": checkpoint.load,
        "*.json": read_json,
        "config.yaml": read_config,
        "metrics.jsonl": lambda path: [parse_line(line) for line in whole_lines(path)],
    }
    found = []
    for pattern, read in readers.items():
        for path in folder.rglob(pattern):
            try:
                read(path)
            except (RunError, ConfigError, ValueError) as error:
                found.append(f"UNREADABLE {path}: {error}")
    return found


def compare(calm: Path, wild: Path) -> int:
    """Print the differences. Return their number."""
    differences = 0
    for path in sorted(calm.rglob("last.safetensors")):
        other = (wild / path.relative_to(calm)).parent
        for name, read in READERS.items():
            if read(path.with_name(name)) != read(other / name):
                differences += 1
                print(f"{path.parent.relative_to(calm)}: {name} differs", flush=True)
    for path in calm.rglob("table.csv"):
        other = wild / path.relative_to(calm)
        same = other.is_file() and path.read_bytes() == other.read_bytes()
        print(f"table of {path.parent.name}: {'the same to the last digit' if same else 'DIFFERENT'}", flush=True)
        differences += not same
    print(f"{len(list(calm.rglob('last.safetensors')))} runs compared", flush=True)
    return differences


def _state(path: Path) -> dict[str, Any]:
    try:
        return vars(checkpoint.load(path))
    except RunError as error:  # whatever it is, it is what this looks for
        return {"cannot be read": f"{path}: {error}"}


def _hash(path: Path) -> str:
    """Return a hash of the checkpoint without its configuration, which holds the folder of the run."""
    digest = hashlib.sha256()

    def add(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key in value:
                add(f"{name}/{key}", value[key])
        elif isinstance(value, list | tuple):
            for index, each in enumerate(value):
                add(f"{name}/{index}", each)
        else:
            content = value.numpy().tobytes() if isinstance(value, torch.Tensor) else repr(value).encode()
            digest.update(name.encode() + b"=" + content + b"\n")

    add("", {key: value for key, value in _state(path).items() if key != "config"})
    return digest.hexdigest()


def _metrics(path: Path) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


BESIDE = (*TIMES, "starts", "reason")  # what a kill may change of a JSON file


def _plain(path: Path) -> dict[str, object] | None:
    """Return a JSON file without the values that a kill may change, or None without a file."""
    content = json.loads(path.read_text()) if path.is_file() else None
    return content and {key: value for key, value in content.items() if key not in BESIDE}


READERS: dict[str, Callable[[Path], object]] = {
    "last.safetensors": _hash,
    "best.safetensors": _hash,
    "best.json": _plain,
    "metrics.jsonl": _metrics,
    "result.json": _plain,
}


if __name__ == "__main__":
    torch.set_num_threads(1)  # threads do not outlive a fork
    main()
