"""What one more run of a study costs beyond its training, and whether memory or open files grow.

python scripts/study_cost.py 100        so many tiny runs in one process, with offline W&B (a second each)
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from trainer.commandline import interpret
from trainer.study import conduct, launch, worker
from trainer.training import ClassificationTrainer


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    training, costs, sizes, handles = [0.0], list[float](), list[int](), list[int]()
    do_train, do_validation = ClassificationTrainer.do_train, ClassificationTrainer.do_validation

    def timed(function):
        def call(self):
            started = time.perf_counter()
            result = function(self)
            training[0] += time.perf_counter() - started
            return result

        return call

    def work(folder: Path) -> None:
        training[0], started = 0.0, time.perf_counter()
        worker.work(folder)
        costs.append(time.perf_counter() - started - training[0])
        status = Path("/proc/self/status").read_text()
        sizes.append(int(status.split("VmRSS:")[1].split()[0]) * 1024)
        handles.append(len(list(Path("/proc/self/fd").iterdir())))

    ClassificationTrainer.do_train = timed(do_train)
    ClassificationTrainer.do_validation = timed(do_validation)
    launch.work = work
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        plan = interpret(["-m", "dataset=digits", "device=cpu", "epochs=2", f"seed=range({count})"])
        conduct.conduct(plan)
        os.chdir("/")
    later = costs[1:]
    print(
        f"\n{count} runs: beyond training the first cost {costs[0]:.2f} s, the others {statistics.median(later):.2f} s",
        end="",
    )
    print(f" (median; {min(later):.2f}–{max(later):.2f})")
    for number in sorted({1, min(10, count), count // 2, count}):
        print(f"after {number:>4} runs: {sizes[number - 1] / 1e6:.0f} MB, {handles[number - 1]} open files")


if __name__ == "__main__":
    main()
