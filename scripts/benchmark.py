"""Compare the cost of this trainer with a bare loop and with other tools: one table of ratios.

python scripts/benchmark.py --data-dir FOLDER      FOLDER holds train/<class>/* with images of 3×32×32, such as
                                                   CIFAR-10's; default: synthetic images
python scripts/benchmark.py --help                 the contenders, batch sizes, augmentations, rounds
python scripts/benchmark.py --growth               seconds per epoch for 5 000 to 500 000 synthetic images
python scripts/benchmark.py --start-up             seconds of --help, --cfg job and an error, and of reading the images

The contenders take turns, round after round, each in its own process on a pseudo-terminal, so that its progress display
is drawn. As machines are noisy, the table shows the median of the ratios to the bare loop of the same round.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import pty
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark_rivals import CONTENDERS
from rich.console import Console
from rich.table import Table

from trainer.cli.common import count

AUGMENTATIONS = ("none", "flip_crop", "lecture")
CANNOT = {("keras", "lecture")}  # its colour jitter adds brightness where torchvision multiplies
NEEDS = {"loader": "torchvision", "keras": "keras", "lightning": "lightning", "fastai": "fastai"}
err = Console(stderr=True)


def main() -> None:
    arguments = _arguments()
    if arguments.growth:
        growth()
        return
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        os.environ["XDG_CACHE_HOME"] = str(scratch / "cache")
        data_dir = Path(arguments.data_dir or made_up_pictures(scratch / "pictures", arguments.images))
        if arguments.start_up:
            start_up(data_dir.absolute(), scratch, arguments.rounds)
            return
        data = _export(data_dir, scratch / "data.npz")
        tables = list[dict[str, Any]]()
        _print_machine(arguments)
        for augment in arguments.augmentations:
            for batch_size in arguments.batch_sizes:
                names = [name for name in arguments.contenders if (name, augment) not in CANNOT]
                rounds: list[dict[str, dict[str, float]]] = []
                try:
                    for number in range(arguments.rounds):
                        line = f"batch {batch_size}, augmentation {augment}, round {number + 1} of {arguments.rounds}"
                        err.print(line)
                        turn = names[number % len(names) :] + names[: number % len(names)]  # each begins once
                        rounds.append(
                            {name: _run(name, batch_size, augment, arguments, data, data_dir) for name in turn}
                        )
                finally:  # also after Ctrl-C, or where one has failed: of whole rounds
                    if rounds:
                        _print_table(names, rounds, batch_size, augment)
                        tables.append({"batch size": batch_size, "augmentation": augment, "rounds": rounds})
                        if arguments.json:
                            arguments.json.write_text(json.dumps(tables))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", help="a folder of pictures as dataset=image_folder takes it")
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--epochs", type=count, default=3)
    parser.add_argument("--batch-sizes", type=count, nargs="+", default=[128, 512, 2048])
    parser.add_argument("--augmentations", nargs="+", choices=AUGMENTATIONS, default=AUGMENTATIONS)
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--overrides", nargs="*", default=[], help="for the trainer, such as precision=bf16")
    parser.add_argument("--images", type=count, default=50_000, help="number of synthetic images without --data-dir")
    parser.add_argument("--json", type=Path, help="write the results of every round there, too")
    parser.add_argument("--growth", action="store_true", help="only: seconds an epoch against the number of images")
    parser.add_argument("--start-up", action="store_true", help="only: what comes before the first step")
    arguments = parser.parse_args()
    if missing := [name for name in arguments.contenders if not importlib.util.find_spec(NEEDS.get(name, "torch"))]:
        parser.error(f"{', '.join(missing)}: not installed, pip install '.[bench]'")
    return arguments


def _run(
    name: str, batch_size: int, augment: str, arguments: argparse.Namespace, data: Path, data_dir: Path
) -> dict[str, float]:
    """The result of one contender: start-up, epoch and total time in seconds, peak memory in bytes, accuracy."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        augment = "none" if name == "floor" else augment
        options = {"data": data, "data-dir": data_dir.absolute(), "result": result, "augment": augment}
        options |= {"batch-size": batch_size, "epochs": arguments.epochs}
        command = [sys.executable, str(Path(__file__).with_name("benchmark_rivals.py")), name]
        command += [text for key, value in options.items() for text in (f"--{key}", str(value))]
        command += arguments.overrides if name == "trainer" else []
        started = time.time()
        output, rc = _on_a_terminal(command, folder)
        whole = time.time() - started
        if rc != 0 or not result.is_file():
            raise SystemExit(f"{name} failed ({rc}):\n{output[-3000:]}")
        seen = json.loads(result.read_text())
    epochs = [after - before for before, after in zip(seen["stamps"], seen["stamps"][1:], strict=False)]
    return {
        "start": seen["stamps"][0] - started,
        "epoch": min(epochs[1:] or epochs),  # the first one also warms up
        "whole": whole,
        "peak": seen["peak_bytes"],
        "accuracy": seen["accuracy"],
    }


def _on_a_terminal(command: list[str], folder: str) -> tuple[str, int]:
    ours, theirs = pty.openpty()
    # The trainer's own setting of torch's threads (trainer/process.py), for everyone: loaders' workers gain from it.
    environment = {**os.environ, "COLUMNS": "120", "GOMP_SPINCOUNT": "10000"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment)
    os.close(theirs)
    kept: list[bytes] = []

    def drain() -> None:
        try:
            while chunk := os.read(ours, 65536):
                kept.append(chunk)
        except OSError:
            pass  # the other end was closed

    reader = threading.Thread(target=drain)
    reader.start()
    rc = process.wait()
    reader.join()
    os.close(ours)
    return b"".join(kept).decode(errors="replace"), rc


def _export(data_dir: Path, path: Path) -> Path:
    """Write the trainer's own split as arrays for the other contenders. This also fills the trainer's image cache."""
    from trainer.data import sources, splits, statistics

    training, validation = splits.split(sources.image_folder(data_dir, "train"), 0)
    mean, std = statistics.statistics(training)
    arrays = {"mean": mean.numpy(), "std": std.numpy()}
    for part, images in {"train": training, "validation": validation}.items():
        arrays |= {f"{part}_pixels": images.pixels.contiguous().numpy(), f"{part}_labels": images.labels.numpy()}
    np.savez(path, **arrays)
    return path


def made_up_pictures(folder: Path, total: int) -> Path:
    """Write synthetic images of ten classes: a bright spot, whose place is that of the class, under noise."""
    from PIL import Image

    draw = np.random.default_rng(0)
    for number in range(10):
        (folder / "train" / f"class{number}").mkdir(parents=True)
    for index in range(total):
        number = index % 10
        pixels = draw.integers(0, 200, (32, 32, 3), dtype=np.uint8)
        top, left = 3 * number, (7 * number) % 24
        pixels[top : top + 5, left : left + 8] += 20
        Image.fromarray(pixels).save(folder / "train" / f"class{number}" / f"{index}.bmp")
    return folder


def _print_machine(arguments: argparse.Namespace) -> None:
    cpus = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(": ")[2] for line in cpus if line.startswith("model name")]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = ""
    with contextlib.suppress(OSError):  # a machine without git
        commit = subprocess.run(git, check=False, capture_output=True, text=True).stdout
    packages = ["torch", *(NEEDS[name] for name in arguments.contenders if name in NEEDS)]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    print(
        f"{date.today()}; {os.cpu_count()} × {models[0] if models else platform.machine()}, {memory:.0f} GB, {device}"
    )
    print(f"Python {platform.python_version()}, {versions}, the trainer at {commit.strip() or 'an unknown commit'}")
    overrides = " ".join(["; the trainer with", *arguments.overrides]) if arguments.overrides else ""
    print(f"{arguments.epochs} epochs, of them the fastest after the first{overrides}", end="; ")
    print(f"medians of {arguments.rounds} rounds [lowest–highest]", flush=True)


def _print_table(names: list[str], rounds: list[dict[str, dict[str, float]]], batch_size: int, augment: str) -> None:
    title = f"batch size {batch_size}, augmentation {augment} (the floor never augments), {len(rounds)} rounds"
    table = Table(title=title, title_justify="left")
    for column in (
        "",
        "epoch",
        "× floor",
        "whole process",
        "× floor",
        "beyond it",
        "start-up",
        "peak memory",
        "× floor",
        "accuracy",
    ):
        table.add_column(column, justify="right" if column else "left")
    for name in names:

        def of(key: str, name: str = name) -> float:
            return statistics.median(turn[name][key] for turn in rounds)

        def ratio(key: str, name: str = name) -> str:
            ratios = [turn[name][key] / turn["floor"][key] for turn in rounds if "floor" in turn] or [float("nan")]
            return f"{statistics.median(ratios):.2f} [{min(ratios):.2f}–{max(ratios):.2f}]"

        beyond = [turn[name]["whole"] - turn["floor"]["whole"] for turn in rounds if "floor" in turn] or [float("nan")]
        table.add_row(
            name,
            f"{of('epoch'):.2f} s",
            ratio("epoch"),
            f"{of('whole'):.1f} s",
            ratio("whole"),
            f"{statistics.median(beyond):+.1f} s",
            f"{of('start'):.1f} s",
            f"{of('peak') / 1e6:.0f} MB",
            ratio("peak"),
            f"{of('accuracy'):.1%}",
        )
    Console(width=170).print(table)


def start_up(data_dir: Path, scratch: Path, rounds: int) -> None:
    """Print the seconds of commands that train nothing, and of a new process that reads the images."""
    trainer = [sys.executable, "-m", "trainer"]
    reads = "import sys, time, torch; from pathlib import Path; from trainer.data import sources; began = time.time();"
    reads += "parts = [sources.image_folder(Path(sys.argv[1]), part) for part in sys.argv[2:]];"
    reads += "print(f'{sum(map(len, parts))} images: {time.time() - began:.3f} s to tensors')"
    for words in (["--help"], ["--cfg", "job"], ["optimizer=adm"]):
        seconds = []
        for _ in range(rounds):
            started = time.perf_counter()
            subprocess.run([*trainer, *words], check=False, capture_output=True, cwd=scratch)
            seconds.append(time.perf_counter() - started)
        spread = f"[{min(seconds):.2f}–{max(seconds):.2f}]"
        print(f"python -m trainer {' '.join(words)}: {statistics.median(seconds):.2f} s {spread}", flush=True)
    parts = [part for part in ("train", "test") if (data_dir / part).is_dir()]
    cache = {**os.environ, "XDG_CACHE_HOME": str(scratch / "cache")}
    for number in range(1 + rounds):
        print("decoded: " if not number else "cached:  ", end="", flush=True)
        subprocess.run([sys.executable, "-c", reads, str(data_dir), *parts], check=True, env=cache)


def growth() -> None:
    """Print the seconds per epoch over the number of images and batches, and the log-log slope: 1 is linear."""
    from trainer.config.compose import interpret
    from trainer.config.run_config import RunConfig
    from trainer.data.images import Images
    from trainer.runtime.process import configure_process
    from trainer.training.build import build_trainer

    configure_process()
    config = interpret(["dataset=cifar10", "device=cpu" if not torch.cuda.is_available() else "device=cuda"])
    assert isinstance(config, RunConfig)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    labels = tuple(map(str, range(10)))
    for batch_size in (128, 2048):
        sizes, seconds = [5_000, 20_000, 50_000, 200_000, 500_000], []
        for size in sizes:
            pixels = torch.randint(0, 256, (size, 3, 32, 32), dtype=torch.uint8)
            images = Images(pixels, torch.arange(size) % 10, labels).to(device)
            part = images.select(torch.arange(min(size, 1000)))
            trainer = build_trainer(config.model_copy(update={"batch_size": batch_size}), images, part, device)
            times = []
            for _ in range(3 if size < 500_000 else 2):
                started = time.perf_counter()
                trainer.do_train()
                times.append(time.perf_counter() - started)
            seconds.append(min(times))
            steps, each = -(-size // batch_size), seconds[-1] / size * 1e6
            print(
                f"batch {batch_size}: {size:>7} images {steps:>5} steps {seconds[-1]:8.2f} s, {each:.0f} µs each",
                flush=True,
            )
            del trainer, images, part  # before the next ones are made
        slope = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
        print(f"batch {batch_size}: seconds grow with images to the power {slope:.2f}")


if __name__ == "__main__":
    main()
