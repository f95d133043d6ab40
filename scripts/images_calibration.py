"""Check the interval for other images: how often it holds the difference on new seeds and on all images.

    python scripts/images_calibration.py                  2 000 studies a row, about two minutes

Two arms are made that classify all images of a kind equally well, but not the same ones: each image is as hard as it
is, suits one of the arms more or less, and each run errs in its own way. A study draws images and seeds. An interval of
95 % that counts both holds the true difference, 0, in 95 % of studies; one that counts the seeds alone, in fewer. The
table is that of docs/statistics.md.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from rich.console import Console
from rich.progress import track

from trainer.stats.corrections import Bound
from trainer.stats.images import other_images
from trainer.stats.trial import PAIRED_FROM

# Images, mean ease of an image, its deviation, that of the part that suits one arm only, that of a run on an image.
TASKS = {
    "300, arms alike": (300, 3.0, 2.0, 0.5, 0.5),
    "300, arms unlike": (300, 3.0, 2.0, 1.0, 0.5),
    "300, 99 % right": (300, 5.0, 2.0, 0.5, 0.5),
    "2 000, arms alike": (2000, 1.0, 1.0, 0.3, 1.0),
}
SEEDS = (3, 5, 10, 30)
SEED_DEVIATION = 0.15  # of a run on all images
out = Console(highlight=False, width=120)


def covered(task: tuple[int, float, float, float, float], seeds: int, studies: int) -> tuple[float, float]:
    """Return the share of studies whose interval holds 0: for new seeds and images, and for new seeds alone."""
    images, ease, spread, own, noise = task
    draw, both, alone = np.random.default_rng([images, seeds]), 0, 0
    for _ in range(studies):
        base, shift = draw.normal(ease, spread, images), draw.normal(0, SEED_DEVIATION, seeds)
        arms = []
        for _ in range(2):
            suits = base + draw.normal(0, own, images)
            run = (shift + draw.normal(0, SEED_DEVIATION, seeds))[:, None] + draw.normal(0, noise, (seeds, images))
            arms.append(suits + run > 0)
        difference = abs(float(arms[0].mean() - arms[1].mean()))
        paired = seeds >= PAIRED_FROM
        found = other_images(*({str(seed): row for seed, row in enumerate(arm)} for arm in arms), paired)
        both += difference == 0 if found is None else difference <= Bound(1, True)(found.df) * found.error
        rows = [arm.mean(1) for arm in arms]
        spreads = [rows[0] - rows[1]] if paired else rows
        error = sum(each.var(ddof=1) / seeds for each in spreads) ** 0.5
        alone += difference <= Bound(1, True)(float(len(spreads) * (seeds - 1))) * error
    return both / studies, alone / studies


def table(studies: int) -> Iterator[str]:
    """Yield the rows of the table in Markdown."""
    yield "| validation images | seeds | seeds and images | seeds alone |"
    yield "|---|---|---|---|"
    cells = [(name, seeds) for name in TASKS for seeds in SEEDS]
    for name, seeds in track(cells, "Simulating", console=out):
        both, alone = covered(TASKS[name], seeds, studies)
        yield f"| {name} | {seeds} | {100 * both:.1f} % | {100 * alone:.1f} % |"


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, help="to simulate for each row (2000)")
    for line in list(table(parser.parse_args(arguments).studies)):
        print(line)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
