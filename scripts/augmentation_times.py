"""Time every augmentation on a batch beside flip and crop, and operations drawn for each image beside torchvision v2.

python scripts/augmentation_times.py                 on this processor; the table of docs/benchmarks.md
python scripts/augmentation_times.py --rounds 5

All are timed in turn, round after round, so that a machine that changes its speed changes it for all. torchvision draws
once a call, so that it is called for each image of the batch.
"""

import argparse
import datetime
import os
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torchvision.transforms import v2

from trainer.config.schema import techniques
from trainer.techniques import augmentation

BATCHES = ((512, 3, 32, 32), (64, 1, 32, 32))
THEIRS: dict[str, Callable[[Tensor], Tensor]] = {
    "rand_augment": v2.RandAugment(),
    "trivial_augment": v2.TrivialAugmentWide(),
    "auto_augment": v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
    "aug_mix": v2.AugMix(),
    "random_erasing": v2.RandomErasing(),
    "gray": v2.RandomGrayscale(),
    "blur": v2.RandomApply([v2.GaussianBlur(3, (0.1, 2.0))]),
}
FIRST = "flip, crop"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="measurements of each; default: 15")
    rounds = parser.parse_args().rounds
    taken = {shape: measured(shape, rounds) for shape in BATCHES}
    threads = f"{torch.get_num_threads()} of {os.cpu_count()} cores"
    print(f"{datetime.date.today()}, {threads}, torch {torch.__version__}, medians of {rounds} rounds\n")
    heads = [f"{'×'.join(map(str, shape))}" for shape in BATCHES]
    print(f"| augmentation | {' | '.join(f'{head} | torchvision' for head in heads)} |")
    print("|---" * (1 + 2 * len(BATCHES)) + "|")
    for name in taken[BATCHES[0]]:
        if not name.startswith("torchvision "):
            cells = (cell for shape in BATCHES for cell in _cells(name, taken[shape]))
            print(f"| {name} | {' | '.join(cells)} |")


def measured(shape: tuple[int, ...], rounds: int) -> dict[str, float]:
    """Return {name: median of the seconds for a batch}."""
    draw = torch.Generator().manual_seed(0)
    # In the memory order in which a run holds its batches.
    images = torch.randint(0, 256, shape, generator=draw).to(torch.uint8).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(len(images)) % 10
    single = {name: getattr(augmentation, name) for name in techniques("augmentation")}
    calls: dict[str, Callable[[], object]] = {
        FIRST: partial(in_turn, [single["flip"], single["crop"]], images, labels, draw)
    }
    calls |= {name: partial(function, images, labels, 10, draw) for name, function in single.items()}
    calls |= {f"torchvision {name}": partial(one_by_one, function, images) for name, function in THEIRS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for each in range(rounds + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if each:  # the first one warms up
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def in_turn(
    functions: list[Callable[..., tuple[Tensor, Tensor]]], images: Tensor, labels: Tensor, draw: torch.Generator
) -> None:
    for function in functions:
        images, labels = function(images, labels, 10, draw)


def one_by_one(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    return torch.stack([function(image) for image in images])


def _cells(name: str, seconds: dict[str, float]) -> tuple[str, str]:
    """Return the time of an augmentation and of torchvision's, as ratios to flip and crop."""
    base, theirs = seconds[FIRST], seconds.get(f"torchvision {name}")
    ratio = f"{seconds[name] / base:.2f}"
    shown = f"1.00 ({base * 1e3:.1f} ms)" if name == FIRST else ratio
    return shown, "" if theirs is None else f"{theirs / base:.1f}"


if __name__ == "__main__":
    main()
