"""The measurements of scripts/gpu_check.py, each in a process of its own that writes its results as it goes.

python scripts/gpu_measure.py steps --result FILE     a training step: floor, trainer, CUDA graph; launches, idle time
python scripts/gpu_measure.py studies --result FILE   eight and more runs: in turn, concurrently, in processes
"""

import argparse
import contextlib
import functools
import gc
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmark import made_up_pictures
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from trainer.config.compose import interpret
from trainer.config.run_config import RunConfig
from trainer.data.images import Images
from trainer.data.sources import image_folder
from trainer.errors import ConfigError
from trainer.runtime.files import write_text
from trainer.training.build import build_trainer
from trainer.training.graphed_step import WARM_UP_STEPS
from trainer.training.network import build_model
from trainer.training.trainer import ClassificationTrainer

CLASSES = tuple("0123456789")
EPOCH_IMAGES = 45_000  # of CIFAR-10 after the split; an epoch is computed from a step


class Results:
    """A list of rows in a JSON file, written anew with each row, so that a step cut off at its limit has results."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, list[dict[str, Any]]()

    def add(self, **row: Any) -> None:
        self.rows.append(row)
        write_text(self.path, json.dumps(self.rows))
        print(row, flush=True)


def steps(device: torch.device, small: bool, results: Results) -> None:
    """Measure a step of each contender for each network, batch size and precision."""
    networks = ("lecture_cnn",) if small else ("lecture_cnn", "resnet18")
    sizes = (64,) if small else (128, 512, 2048)
    ways = ("floor", "trainer") if device.type != "cuda" else ("floor", "trainer", "cuda_graph")
    for network, precision, size in itertools.product(networks, ("fp32", "bf16"), sizes):
        for way in ways:
            row = {"network": network, "precision": precision, "batch size": size, "way": way}
            try:
                step, stream = _step_of(way, network, precision, size, device)
                with stream:
                    results.add(**row, **_timed(step, size, device, 4 if small else 30))
                del step, stream
            except (RuntimeError, OSError, ConfigError) as error:  # the other cells are measured all the same
                results.add(**row, error=(str(error).splitlines() or [type(error).__name__])[0])
            if device.type == "cuda":
                gc.collect()
                torch.cuda.empty_cache()


def _step_of(
    way: str, network: str, precision: str, size: int, device: torch.device
) -> tuple[Callable[[], object], contextlib.AbstractContextManager[None]]:
    """Return a function that trains one step on the next batch, without a wait for the device, and its stream."""
    graph = "true" if way == "cuda_graph" else "false"
    normalization = "batch" if network == "resnet18" else "none"
    words = [f"model={network}", f"normalization={normalization}", f"precision={precision}", f"batch_size={size}"]
    config = interpret([*words, f"device={device.type}", f"cuda_graph={graph}", "dataset=cifar10", "lr=0.001"])
    assert isinstance(config, RunConfig)
    count = 8 * size
    pixels = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
    images = Images(pixels, torch.arange(count) % 10, CLASSES).to(device)
    if way == "floor":
        return _bare_step(config, images, device), contextlib.nullcontext()
    trainer = build_trainer(config, images, images.select(torch.arange(10)), device)
    return _trainer_step(trainer), trainer.graph.on_stream() if trainer.graph else contextlib.nullcontext()


def _trainer_step(trainer: ClassificationTrainer) -> Callable[[], object]:
    """Return the part of the trainer's loop that is repeated in every step."""
    trainer.model.train()
    positions = itertools.cycle(list(trainer.train.positions(0, 0)))
    progress = trainer._begin()
    step = functools.partial(trainer.graph, trainer.train_step) if trainer.graph else trainer.train_step

    def one() -> None:
        if trainer.schedule.steps % len(trainer.train) == 0:
            trainer.meters.clear()
        progress.images += step(next(positions))
        trainer.schedule.step()

    return one


def _bare_step(config: RunConfig, images: Images, device: torch.device) -> Callable[[], object]:
    """Return a plain step over normalized float images on the device, with the same network and torch's own Adam."""
    network = build_model(config, images)[1].to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    pixels = (images.pixels.float() / 255 - 0.5) / 0.25
    order = itertools.cycle(torch.randperm(len(images), device=device).split(config.batch_size))
    half = torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")

    def one() -> None:
        chosen = next(order)
        optimizer.zero_grad()
        with half:
            loss = F.cross_entropy(network(pixels[chosen]), images.labels[chosen])
        loss.backward()
        optimizer.step()

    return one


def _timed(step: Callable[[], object], size: int, device: torch.device, count: int) -> dict[str, float]:
    """Return milliseconds a step (the median of five rounds), images a second, launches a step, share of idle time."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for _ in range(WARM_UP_STEPS + 3):  # the capture is among them
        step()
    wait()
    rounds = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(count):
            step()
        wait()
        rounds.append((time.perf_counter() - started) / count)
    seconds = statistics.median(rounds)
    found = {
        "milliseconds": 1e3 * seconds,
        "lowest": 1e3 * min(rounds),
        "highest": 1e3 * max(rounds),
        "images a second": size / seconds,
        "seconds an epoch": EPOCH_IMAGES / size * seconds,
    }
    return {**found, **(_profiled(step, seconds) if device.type == "cuda" else {})}


def _profiled(step: Callable[[], object], seconds: float, count: int = 10) -> dict[str, float]:
    """Return launches by the host and kernels a step, and the share of an unprofiled step without a running kernel.

    Nothing where the profiler sees no kernel, which needs a permission of the driver.
    """
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as record:
        for _ in range(count):
            step()
        torch.cuda.synchronize()
    events = record.events() or []
    launches = sum("launch" in event.name.lower() and event.name.startswith("cu") for event in events)
    # Not the names that torch gives to parts of a step, such as that of the optimizer, which it also draws over the
    # kernels of that part and the pauses between them.
    kernels = [event for event in events if "cuda" in str(event.device_type).lower() and not event.is_user_annotation]
    if not kernels:
        return {}
    busy, reached = 0.0, 0.0  # microseconds in which at least one kernel runs
    for start, end in sorted((event.time_range.start, event.time_range.end) for event in kernels):
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return {
        "launches": launches / count,
        "kernels": len(kernels) / count,
        "idle": max(0.0, 1 - busy / 1e6 / count / seconds),
    }


def studies(device: torch.device, small: bool, results: Results) -> None:
    """Measure studies of the lecture's CNN: one run after the other, several at once, and in processes."""
    many, epochs = (2, 1) if small else (8, 3)
    ways = {
        "one after the other": [],
        "one after the other, cuda_graph": ["cuda_graph=true"],
        f"sweep.concurrent={many}": [f"sweep.concurrent={many}"],
        f"sweep.concurrent={many}, cuda_graph": [f"sweep.concurrent={many}", "cuda_graph=true"],
        f"{many} processes": ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={many}"],
        f"{many} processes, cuda_graph": ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={many}", "cuda_graph=true"],
    }
    graphs = device.type == "cuda"
    for count, size in ((many, 512), (many, 2048), (4 * many, 512)) if not small else ((many, 100),):
        for name, words in ways.items():
            if ("cuda_graph=true" in words and not graphs) or (small and "processes" in name):
                continue
            if count > many and "one after" in name:
                continue  # four times as long as that of `many` runs
            wide = [word.replace(f"={many}", f"={min(count, 16)}") if count > many else word for word in words]
            seconds, accuracies, error = _study(count, size, epochs, device, small, wide)
            results.add(runs=count, way=name, size=size, seconds=seconds, accuracies=accuracies, error=error)


def _study(
    count: int, size: int, epochs: int, device: torch.device, small: bool, words: list[str]
) -> tuple[float, list[float], str | None]:
    """Return the seconds of the whole command, the accuracy of each run, and an error."""
    data = ["dataset=digits", "model=mlp"] if small else ["dataset=image_folder", f"data_dir={_pictures()}"]
    command = [sys.executable, "-m", "trainer", "-m", *data, f"device={device.type}", f"batch_size={size}"]
    command += [f"epochs={epochs}", "wandb.mode=disabled", f"seed={','.join(map(str, range(count)))}", *words]
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
        results = [json.loads(path.read_text()) for path in sorted(Path(folder).glob("outputs/sweeps/*/*/result.json"))]
    error = None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no message"])[-1]
    return seconds, [result.get("validation_accuracy") for result in results], error


_folders: list[Path] = []


def _pictures() -> Path:
    """Return a folder of 20 000 synthetic images, written once."""
    if not _folders:
        _folders.append(made_up_pictures(Path(tempfile.mkdtemp()), 20_000))
        image_folder(_folders[0], "train")  # decodes them into the cache, which the first study alone would have to do
    return _folders[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("steps", "studies"))
    parser.add_argument("--result", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="the smallest sizes, to try the script itself")
    arguments = parser.parse_args()
    measure = {"steps": steps, "studies": studies}[arguments.what]
    measure(torch.device(arguments.device), arguments.small, Results(arguments.result))


if __name__ == "__main__":
    main()
