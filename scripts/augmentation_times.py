"""Time every augmentation on a batch beside flip and crop, and operations drawn for each image beside torchvision v2.

python scripts/augmentation_times.py                 on this processor; the table of docs/benchmarks.md
python scripts/augmentation_times.py --rounds 5

All are timed in turn, round after round, and the fastest round of each counts: what else runs on the machine only adds
to it. torchvision draws once a call, so that it is called for each image of the batch. The last column changes all
images by every operation and keeps the chosen ones, which does not wait for the device: the form of a GPU.
"""

import argparse
import datetime
import os
import time
from collections.abc import Callable
from functools import partial
from unittest import mock

import torch
from torch import Tensor
from torchvision.transforms import v2

from trainer.config.schema import techniques
from trainer.techniques import augmentation
from trainer.techniques.images import image_operations

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
WHO = ("", "torchvision ", "masked ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, metavar="N", help="measurements of each; default: 30")
    rounds = parser.parse_args().rounds
    taken = {shape: measured(shape, rounds) for shape in BATCHES}
    threads = f"{torch.get_num_threads()} of {os.cpu_count()} cores"
    print(f"{datetime.date.today()}, {threads}, torch {torch.__version__}, the fastest of {rounds} rounds\n")
    heads = ["×".join(map(str, shape)) for shape in BATCHES]
    print(f"| augmentation | {' | '.join(f'{head} | torchvision | as on a GPU' for head in heads)} |")
    print("|---" * (1 + 3 * len(BATCHES)) + "|")
    for name in [FIRST, *techniques("augmentation")]:
        cells = (cell for shape in BATCHES for cell in _cells(name, taken[shape]))
        print(f"| {name} | {' | '.join(cells)} |")


def measured(shape: tuple[int, ...], rounds: int) -> dict[str, float]:
    """Return {name: fewest seconds for a batch}."""
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
    calls |= {f"masked {name}": partial(masked, calls[name]) for name in THEIRS if name != "random_erasing"}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for each in range(rounds + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if each:  # the first one warms up
                seconds[name].append(time.perf_counter() - started)
    return {name: min(values) for name, values in seconds.items()}


def in_turn(
    functions: list[Callable[..., tuple[Tensor, Tensor]]], images: Tensor, labels: Tensor, draw: torch.Generator
) -> None:
    for function in functions:
        images, labels = function(images, labels, 10, draw)


def one_by_one(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    return torch.stack([function(image) for image in images])


def masked(call: Callable[[], object]) -> None:
    """Call an augmentation in the form of a GPU."""
    with mock.patch.object(image_operations, "_is_in_memory", lambda images: False):
        call()


def _cells(name: str, seconds: dict[str, float]) -> tuple[str, ...]:
    """Return the time of an augmentation, of torchvision's and of the form of a GPU, as ratios to flip and crop."""
    base = seconds[FIRST]
    ratios = [f"{seconds[key] / base:.2f}" if (key := f"{who}{name}") in seconds else "" for who in WHO]
    return (f"1.00 ({base * 1e3:.1f} ms)", "", "") if name == FIRST else tuple(ratios)


if __name__ == "__main__":
    main()
