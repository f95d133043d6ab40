"""What a failing W&B server costs a run: the real client against a server on the loopback address.

python scripts/wandb_faults.py          each fault: exit code, seconds beyond an undisturbed run, same weights, warnings
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from loopback import wandb_server  # noqa: E402

from trainer import checkpoint  # noqa: E402

RUN = ("dataset=digits", "epochs=3", "device=cpu", "output_dir=run")
FAULTS = (None, "fails", "hangs", "dies", "answers nonsense")


def trained(folder: Path, mode: str, address: str = "") -> tuple[subprocess.CompletedProcess[str], float, Path]:
    folder.mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    told = {"PYTHONPATH": str(ROOT), "HOME": str(folder), "WANDB_BASE_URL": address, "WANDB_API_KEY": "0" * 40}
    started = time.perf_counter()
    command = [sys.executable, "-m", "trainer", *RUN, f"wandb.mode={mode}"]
    done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, env={**kept, **told})
    return done, time.perf_counter() - started, folder / "run"


def same(first: Path, second: Path) -> bool:
    states = [checkpoint.load(run / "last.pt")["trainer"]["model"] for run in (first, second)]
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def main() -> int:
    """Exit code 1 if a run failed, or its weights differ."""
    wrong = 0
    with tempfile.TemporaryDirectory() as place:
        _, usual, reference = trained(Path(place) / "offline", "offline")
        print(f"offline, no server: {usual:.1f} s")
        print(f"{'server':18} {'exit code':>9} {'extra s':>8} {'same weights':>13}  warnings")
        for fault in FAULTS:
            with wandb_server(fault) as (address, _):
                done, seconds, run = trained(Path(place) / (fault or "works"), "online", address)
            equal = done.returncode == 0 and same(run, reference)
            wrong += not equal
            warnings = [line for line in done.stderr.splitlines() if line.startswith("trainer: ")]
            print(f"{fault or 'works':18} {done.returncode:9} {seconds - usual:8.1f} {equal!s:>13}  {len(warnings)}")
            for line in warnings:
                print(f"    {line.removeprefix('trainer: warning: ').replace(place, '')}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
