"""Show on digits what `sweep.until=decided` saves: six optimizers until decided, against 24 seeds of each.

    python scripts/until_demo.py                     in a folder of its own, which is removed; some minutes on two cores
    python scripts/until_demo.py --keep FOLDER       keeps the studies there
    python scripts/until_demo.py lr=0.01 epochs=8    with other settings

The study until decided is trained twice, once undisturbed and once killed five times (SIGKILL): both must take the same
looks and end with the same table. The fixed one must have the same best arm. The exit code is 1 if one does not hold.
"""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

SEEDS, KILLS = 24, 5
STUDY = (
    "dataset=digits", "dataset.image_size=8", "model=mlp", "epochs=4", "early_stop_patience=null", "device=cpu",
    "wandb.mode=disabled", "optimizer=sgd,momentum,adam,adamax,adagrad,lion", "lr=0.003",
)  # fmt: skip
out = Console(highlight=False, width=120)


def started(arguments: list[str], root: Path) -> subprocess.Popen:
    """Start a study with its folders below `root`."""
    log = (root.parent / f"{root.name}.txt").open("a")
    command = [sys.executable, "-m", "trainer", "-m", *arguments, f"output_root={root}"]
    return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def finished_runs(root: Path) -> int:
    """Return the number of runs that have a result below this folder."""
    return sum('"finished"' in path.read_text() for path in root.glob("sweeps/*/*/result.json"))


def trained(arguments: list[str], root: Path, kills: int = 0, every: int = 1) -> Path:
    """Train a study to its end, killed after each `every` further runs; return its folder."""
    for number in range(1, kills + 1):
        process = started(arguments, root)
        while process.poll() is None and finished_runs(root) < number * every:
            time.sleep(0.02)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            out.print(f"  killed with {finished_runs(root)} runs finished")
        process.wait()
    before = set(root.glob("sweeps/*/study.json"))
    code = started(arguments, root).wait()
    assert code == 0, f"exit code {code}: see {root}.txt"
    new = set(root.glob("sweeps/*/study.json")) - before or before
    return max(new, key=lambda path: path.stat().st_mtime).parent


def looks(folder: Path) -> list[dict]:
    """Return the looks that a study has taken."""
    found: list[dict] = json.loads((folder / "study.json").read_text())["looks"]
    return found


def best_arm(folder: Path) -> str:
    """Return the arm that `trainer report` finds best, and whether it is concluded to be better than all others."""
    command = [sys.executable, "-m", "trainer", "export", str(folder), "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    tree = json.loads(done.stdout)
    return f"{tree['best']}{', concluded' if tree['winner'] == tree['best'] else ''}"


def rows(folder: Path) -> int:
    """Return the number of runs of a study."""
    with (folder / "table.csv").open() as file:
        return sum(1 for _ in csv.DictReader(file))


def main(arguments: list[str] | None = None) -> int:
    """Train the three studies and compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", help="settings of the runs in place of the usual ones")
    parser.add_argument("--keep", type=Path, help="folder for the studies")
    typed = parser.parse_intermixed_args(arguments)
    replaced = {text.partition("=")[0] for text in typed.settings}
    study = [*(text for text in STUDY if text.partition("=")[0] not in replaced), *typed.settings]
    with tempfile.TemporaryDirectory() as temporary:
        place = (typed.keep or Path(temporary)).absolute()
        place.mkdir(parents=True, exist_ok=True)
        until = [*study, "sweep.until=decided", f"sweep.max_seeds={SEEDS}"]
        out.print(f"python -m trainer -m {' '.join(until)}", soft_wrap=True)
        calm = trained(until, place / "calm")
        for look in looks(calm):
            dropped = ", ".join(look["dropped"]) or "none"
            out.print(f"  look at {look['n']} seeds: dropped {dropped}; {look['outcome'] or 'goes on'}")
        count = rows(calm)
        killed = trained(until, place / "killed", KILLS, max(1, count // (KILLS + 1)))
        same = looks(killed) == looks(calm) and (killed / "table.csv").read_text() == (calm / "table.csv").read_text()
        out.print(f"Killed {KILLS} times: {'the same looks and the same table' if same else 'OTHER looks or table'}")
        fixed = trained([*study, f"seed=range({SEEDS})"], place / "calm")
        arms = best_arm(calm), best_arm(fixed)
        out.print(f"Until decided: {count} runs, best arm {arms[0]}")
        out.print(f"Fixed seeds: {rows(fixed)} runs, best arm {arms[1]}")
        out.print(f"Saved: {rows(fixed) - count} of {rows(fixed)} runs")
    return 0 if same and arms[0].partition(",")[0] == arms[1].partition(",")[0] else 1


if __name__ == "__main__":
    raise SystemExit(main())
