"""Grid, random and Bayesian search at an equal number of runs; each winner is trained again with other seeds.

python scripts/compare_searches.py                         24 runs each on the built-in digits
python scripts/compare_searches.py dataset=mnist data_dir=/data epochs=3
"""

import csv
import os
import statistics
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from trainer.study.execute import run_study
from trainer.study.plan import plan_from

GRID = ["lr=1e-5,1e-4,1e-3,1e-2,3e-2,1e-1", "weight_decay=1e-5,1e-3", "dropout=0.0,0.5"]
SPACE = ["lr=tag(log,interval(1e-5,1e-1))", "weight_decay=tag(log,interval(1e-5,1e-3))", "dropout=interval(0.0,0.5)"]
SEARCHES = {
    "grid": GRID,
    "random": [*SPACE, "sweep.method=random", "sweep.trials=24"],
    "tpe": [*SPACE, "sweep.method=tpe", "sweep.trials=24"],
}


def main() -> None:
    base = sys.argv[1:] or ["dataset=digits", "epochs=10"]
    table = Table("search", "best of 24 runs", "at", "median of 24", "its mean over 5 other seeds", box=None)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, axes in SEARCHES.items():
            rows = _conducted([*base, *axes, f"sweep.name={name}"])
            values = [float(row["validation_accuracy"]) if row["state"] == "finished" else 0.0 for row in rows]
            best = rows[values.index(max(values))]
            point = [f"{key}={best[key]}" for key in ("lr", "weight_decay", "dropout")]
            again = _conducted([*base, *point, "seed=range(1,6)", f"sweep.name={name}_again"])
            means = [float(row["validation_accuracy"]) for row in again]
            spread = f"{statistics.mean(means):.2%} ± {statistics.stdev(means):.2%}"
            table.add_row(name, f"{max(values):.2%}", " ".join(point), f"{statistics.median(values):.2%}", spread)
        os.chdir("/")
    Console(width=150).print(table)


def _conducted(arguments: list[str]) -> list[dict[str, str]]:
    run_study(plan_from(["-m", *arguments]))
    name = next(text.partition("=")[2] for text in arguments if text.startswith("sweep.name="))
    (newest,) = Path("outputs/sweeps").glob(f"{name}-????????/study.json")
    with (newest.parent / "table.csv").open() as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
