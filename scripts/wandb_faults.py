"""Measure the cost of a failing W&B for a run: the real client with a server on the loopback address, or a full disk.

python scripts/wandb_faults.py          each fault: exit code, same weights, seconds at the start and in total beyond an
                                        undisturbed run, warnings, epochs that arrived at the server

Exit code 1 if a run failed, its weights differ, or it took more than 10 seconds at the start, 15 in all or 2 warnings.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fake_wandb_server import wandb_server  # noqa: E402
from full_disk import fill, mounted, unmount  # noqa: E402

from trainer.storage import checkpoint  # noqa: E402

EPOCHS = 12  # long enough for a server to come back in
SETTING = ("dataset=digits", "device=cpu", "early_stop_patience=null", "output_dir=run")
FAULTS = (None, "fails", "hangs", "dies", "comes back", "answers nonsense")
START_SECONDS, ALL_SECONDS, WARNINGS = 10, 15, 2


@dataclass(frozen=True)
class Trial:
    """The result of a run. `start`: seconds from the creation of its folder, when W&B starts, to its first epoch."""

    code: int
    run: Path
    start: float
    seconds: float
    warnings: list[str]
    arrived: int | None = None  # epochs, at the server


def trained(folder: Path, *arguments: str, address: str = "") -> Trial:
    folder.mkdir(exist_ok=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    variables = {"PYTHONPATH": str(ROOT), "HOME": str(folder), "WANDB_BASE_URL": address, "WANDB_API_KEY": "0" * 40}
    command, seen, started = [sys.executable, "-m", "trainer", *arguments], dict[str, float](), time.perf_counter()
    with (
        (folder / "stderr.txt").open("w+") as stderr,
        subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=stderr, text=True, env={**kept, **variables}
        ) as process,
    ):
        assert process.stdout
        for words in map(str.split, process.stdout):
            seen.setdefault(words[0] if words else "", time.perf_counter())
        code = process.wait()
        stderr.seek(0)
        warnings = [line for line in stderr.read().splitlines() if line.startswith("trainer: ")]
    start = seen.get("epoch", started) - seen.get("Folder:", started)
    return Trial(code, folder / "run", start, time.perf_counter() - started, warnings)


def online(folder: Path, fault: str | None) -> Trial:
    with wandb_server(fault) as (address, server):
        trial = trained(
            folder, *SETTING, f"epochs={EPOCHS}", "wandb.mode=online", "wandb.log_code=true", address=address
        )
    rows = [row for run in server.runs.values() for row in run["history"]]
    return replace(trial, arrived=len({row["epoch"] for row in rows if "epoch" in row}))


def on_a_full_disk(folder: Path) -> Trial | None:
    """Resume a run with a full disk in place of its W&B folder. Return None if this user may not mount one."""
    trained(folder, *SETTING, "epochs=1", "wandb.mode=disabled")
    disk = folder / "run" / "wandb"
    if not mounted(disk):
        return None
    try:
        fill(disk)
        return trained(folder, "resume=run", f"epochs={EPOCHS}", "wandb.mode=offline")
    finally:
        unmount(disk)


def same(first: Path, second: Path) -> bool:
    states = [checkpoint.load(run / "last.safetensors").trainer["model"] for run in (first, second)]
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def show(name: str, trial: Trial, usual: Trial) -> bool:
    """Print a line, and one for each warning. Return True if the limits were kept."""
    equal = trial.code == 0 and same(trial.run, usual.run)
    start, seconds = trial.start - usual.start, trial.seconds - usual.seconds
    right = equal and start <= START_SECONDS and seconds <= ALL_SECONDS and len(trial.warnings) <= WARNINGS
    arrived = "" if trial.arrived is None else trial.arrived
    figures = f"{trial.code:9} {equal!s:>12} {start:6.1f} {seconds:6.1f} {arrived:>6}  {len(trial.warnings)}"
    print(f"{name:18} {figures}{'' if right else '  WRONG'}", flush=True)
    for line in trial.warnings:
        print(f"    {line.removeprefix('trainer: warning: ')}", flush=True)
    return right


def main() -> int:
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        usual = trained(place / "offline", *SETTING, f"epochs={EPOCHS}", "wandb.mode=offline")
        print(f"offline, no server: {usual.start:.1f} s at the start, {usual.seconds:.1f} s in all, {EPOCHS} epochs")
        print(f"{'fault':18} {'exit code':>9} {'same weights':>12} {'start':>6} {'in all':>6} {'epochs':>6}  warnings")
        right = [show(fault or "works", online(place / (fault or "works"), fault), usual) for fault in FAULTS]
        full = on_a_full_disk(place / "full disk")
        right += [show("full disk", full, usual)] if full else []
        if not full:
            print("full disk: not tried, only root may mount one")
    return int(not all(right))


if __name__ == "__main__":
    sys.exit(main())
