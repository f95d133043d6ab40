"""Time a training step with every optimizer beside one with adam: the table of docs/benchmarks.md.

python scripts/step_times.py                         on this processor
python scripts/step_times.py --rounds 5 --device cuda

All are timed in turn, round after round, and the fastest round of each counts: what else runs on the machine only adds
to it. First the whole step of the program with the lecture's CNN on a batch of 128, then the optimizer's part alone
with the weights of resnet9, whose gradients are given: sam's two gradients a step show in the first.
"""

import argparse
import datetime
import os
import time
from collections.abc import Callable
from functools import partial

import torch

from trainer.config.compose import interpret
from trainer.config.run_config import RunConfig
from trainer.config.schema import techniques
from trainer.data.images import Images
from trainer.training.build import build_trainer
from trainer.training.optimizer_state import needs_closure, set_mode
from trainer.training.trainer import ClassificationTrainer

FIRST = "adam"
BATCH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="measurements of each; default: 15")
    parser.add_argument("--device", default="cpu", help="cpu or cuda; default: cpu")
    request = parser.parse_args()
    device = torch.device(request.device)
    names = [FIRST, *(name for name in techniques("optimizer") if name != FIRST)]
    whole = measured({name: whole_step(built(name, "lecture_cnn", device)) for name in names}, request.rounds, device)
    alone = measured({name: update(built(name, "resnet9", device)) for name in names}, request.rounds, device)
    threads = f"{torch.get_num_threads()} of {os.cpu_count()} cores"
    print(f"{datetime.date.today()}, {threads}, torch {torch.__version__}, the fastest of {request.rounds} rounds\n")
    print("| optimizer | step of lecture_cnn, batch 128 | update of resnet9 |\n|---|---|---|")
    for name in names:
        print(f"| {name} | {shown(name, whole)} | {shown(name, alone)} |")


def shown(name: str, taken: dict[str, float]) -> str:
    """Return the time as a ratio to the first's, and the first's own in milliseconds."""
    ratio = f"{taken[name] / taken[FIRST]:.2f}"
    return f"{ratio} ({taken[name] * 1e3:.1f} ms)" if name == FIRST else ratio


def built(optimizer: str, model: str, device: torch.device) -> ClassificationTrainer:
    """Return a trainer on random images that has taken a step."""
    config = interpret([f"optimizer={optimizer}", f"model={model}", f"batch_size={BATCH}"])
    assert isinstance(config, RunConfig)
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2 * BATCH, 3, 32, 32), generator=draw).to(torch.uint8)
    images = Images(pixels, torch.arange(2 * BATCH) % 10, tuple("abcdefghij"))
    trainer = build_trainer(config, images, None, device)
    trainer.model.train()
    set_mode(trainer.optimizer, training=True)
    trainer.train_step(torch.arange(BATCH, device=device))
    return trainer


def whole_step(trainer: ClassificationTrainer) -> Callable[[], object]:
    """Return a step of the program: forward pass, backward pass, update."""
    return partial(trainer.train_step, torch.arange(BATCH, device=trainer.device))


def update(trainer: ClassificationTrainer) -> Callable[[], object]:
    """Return the optimizer's part of a step, with the gradients that there are."""
    if needs_closure(trainer.optimizer):
        return partial(trainer.optimizer.step, lambda: torch.zeros(()))
    return trainer.optimizer.step


def measured(steps: dict[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, float]:
    """Return {name: fewest seconds for a step}."""
    fewest = dict.fromkeys(steps, float("inf"))
    for _ in range(rounds):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            fewest[name] = min(fewest[name], time.perf_counter() - started)
    return fewest


if __name__ == "__main__":
    main()
