"""Measure the cost of a run in a study beyond its training, and check that time, memory and open files do not grow.

python scripts/study_cost.py 100               100 runs of the lecture's CNN in one process, with offline W&B
python scripts/study_cost.py 1000 --tiny       1000 runs of a tiny network, one epoch each, and their report
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from trainer.reports import page
from trainer.reports.content import of_study
from trainer.runtime.process import configure_process
from trainer.storage.places import output_root
from trainer.study import execute, launch, worker
from trainer.study.plan import plan_from
from trainer.training.trainer import ClassificationTrainer

TINY = ("dataset.image_size=8", "model=mlp", "model.hidden=[8]", "epochs=1")
SETTLED = 50  # runs after which nothing may grow any more but
MOST_GROWTH = 50.0  # MB of memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=int, nargs="?", default=100)
    parser.add_argument("--tiny", action="store_true")
    request = parser.parse_args()
    configure_process()
    training, costs, sizes, handles, ended = [0.0], list[float](), list[int](), list[int](), list[float]()
    do_train, do_validation = ClassificationTrainer.do_train, ClassificationTrainer.do_validation

    def timed(function):
        def call(self, *arguments):
            started = time.perf_counter()
            result = function(self, *arguments)
            training[0] += time.perf_counter() - started
            return result

        return call

    def work(folder: Path) -> None:
        training[0], started = 0.0, time.perf_counter()
        worker.work(folder)
        costs.append(time.perf_counter() - started - training[0])
        ended.append(time.perf_counter())
        status = Path("/proc/self/status").read_text()
        sizes.append(int(status.split("VmRSS:")[1].split()[0]) * 1024)
        handles.append(len(list(Path("/proc/self/fd").iterdir())))

    ClassificationTrainer.do_train = timed(do_train)
    ClassificationTrainer.do_validation = timed(do_validation)
    launch.work = work
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        plan = plan_from(
            [
                "-m",
                "dataset=digits",
                "device=cpu",
                *(TINY if request.tiny else ["epochs=2"]),
                f"seed=range({request.runs})",
            ]
        )
        execute.run_study(plan)
        started = time.perf_counter()
        (study,) = (output_root() / "sweeps").iterdir()
        report = page.write(of_study(study))
        opened = f"report: {time.perf_counter() - started:.1f} s to write, {report.stat().st_size / 1e6:.1f} MB"
        os.chdir("/")
    _tell(costs, ended, sizes, handles)
    print(opened)


def _tell(costs: list[float], ended: list[float], sizes: list[int], handles: list[int]) -> None:
    """Return the measurements of each run in order. End the program if memory or open files grow."""
    runs = len(costs)
    later = costs[1:] or costs
    print(f"\n{runs} runs: beyond training the first cost {costs[0]:.2f} s, the others", end=" ")
    print(f"{statistics.median(later):.2f} s (median; {min(later):.2f}–{max(later):.2f})")
    each = max(1, runs // 10)
    for first in range(0, runs, each):
        last = min(first + each, runs) - 1
        whole = (ended[last] - ended[first]) / max(1, last - first)
        print(
            f"runs {first + 1:>4}–{last + 1:<4}: {whole:.2f} s from one to the next, {sizes[last] / 1e6:.0f} MB,"
            f" {handles[last]} open files"
        )
    if runs > SETTLED:
        growth, more = (sizes[-1] - sizes[SETTLED - 1]) / 1e6, handles[-1] - handles[SETTLED - 1]
        print(f"after run {SETTLED}: {growth:+.0f} MB, {more:+d} open files")
        if growth > MOST_GROWTH or more > 0:
            sys.exit("that is more than a study may grow")


if __name__ == "__main__":
    main()
