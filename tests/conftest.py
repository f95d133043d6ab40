"""What the tests share: tiny images, quick runs in this process, the program as a process of its own."""

import atexit
import functools
import gc
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from trainer.config import compose as config_compose
from trainer.config.compose import Multirun
from trainer.config.run_config import RunConfig
from trainer.config.schema import techniques
from trainer.data import loader
from trainer.data.images import Images
from trainer.run import Result, train
from trainer.runtime.signals import WARNINGS
from trainer.storage.checkpoint_state import Last
from trainer.storage.untrusted import parse_line
from trainer.study.axes import corners
from trainer.study.plan import Plan, plan_of

# The tests' networks are tiny: a second thread only waits, and fights with whatever else runs on the machine.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


REST = "[…]"  # the end of a sentence that is not compared: the ten nearest names, of which new ones change the choice


# What an option needs beside it.
NEEDED = {
    "weight_standardization": ["normalization=group"],
    "fixup": ["model=resnet9", "model.width=4"],
    "stochastic_depth": ["model=resnet9", "model.width=4"],
    "r_drop": ["dropout=0.2"],
}


def as_told(told, sentence):
    """The told sentence, without what stands in the place of REST in the expected one."""
    end = sentence.find(REST)
    return told if end < 0 else told[:end] + REST


def pytest_xdist_auto_num_workers(config):
    """One more than there are cores: many tests wait, for a process of their own or for a launcher."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_finish():
    """What was imported is neither looked through for garbage again and again, nor taken apart at the end."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        gc.freeze()
        atexit.register(os._exit, 0)


def pytest_collection_modifyitems(items):
    """Skip the tests that need a GPU where there is none."""
    if not torch.cuda.is_available() and "TRAINER_GPU_TESTS_ON" not in os.environ:
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="there is no GPU on this machine"))


ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"
TINY = ("model=mlp", "model.hidden=[8]", "dataset.image_size=8")  # where it does not matter what is trained
PICTURES = ("dataset=image_folder", "dataset.image_size=8", "model=mlp", "model.hidden=[8]", "batch_size=16")
QUICK = ("dataset=digits", "wandb.mode=disabled", "device=cpu", "epochs=2")


def interpret(arguments) -> RunConfig | Plan | None:
    """The run or the plan of a study that a command line stands for, None where it only shows something."""
    request = config_compose.interpret(list(arguments))
    return plan_of(request) if isinstance(request, Multirun) else request


def compose(arguments) -> list[RunConfig]:
    """The checked runs that a command line stands for: one, all of a grid, or those in a corner of a searched space."""
    found = interpret(arguments)
    if isinstance(found, RunConfig):
        return [found]
    runs = [] if found is None else found.runs or found.runs_at(next(corners(found.axes)))
    return [run.config for run in runs]


def choices(group: str) -> dict[str, dict]:
    """{name: what its YAML gives to the group}: with `check` a configuration without Hydra's fifth of a second."""
    files = sorted((ROOT / "conf" / group).glob("*.yaml"))
    return {file.stem: OmegaConf.to_container(OmegaConf.load(file)) for file in files}


# The optimizers whose step has numbers of Python in it, which a CUDA graph would repeat.
NOT_CAPTURED = ("adafactor", "adagrad", "lion", "lookahead", "muon", "sam", "schedule_free")


def narrow(model: str) -> dict[str, int]:
    """The options that make a large network small enough for a test."""
    small = {"width": 4, "heads": 2, "depth": 10 if model == "wide_resnet" else 2, "architecture": "test_resnet"}
    kept = {"vgg": {"depth"}}.get(model, set())
    options = techniques("model").get(model, {})  # deep_mlp is a file of mlp's
    return {name: value for name, value in small.items() if name in options and name not in kept}


def smallest(model: str) -> int:
    """The side of images that are small and large enough for a network."""
    return 32 if model == "vgg" else 16


def tiny_images(count=40, shape=(3, 16, 16), classes=4, seed=0):
    """Random pixels whose brightness tells the class, so that there is something to learn."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    pixels = torch.randint(0, 100, (count, *shape), generator=draw) + labels.view(-1, 1, 1, 1) * 30
    return Images(pixels.to(torch.uint8), labels, ("cat", "dog", "ship", "truck")[:classes])


def draw_pictures(folder: Path, suffix: str = ".png", **counts: int) -> None:
    """Add so many noisy pictures of 8×8 to folders of these names, whose brightness tells the class.

    A process reads a data set once: what it has read is forgotten, as if the next run were one of its own.
    """
    loader._last_loaded.clear()
    for shade, (name, count) in enumerate(counts.items()):
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        have = len(list(place.iterdir()))
        for number in range(have, have + count):
            draw = np.random.default_rng([shade, number]).normal(40 + 150 * shade / len(counts), 20, (8, 8, 3))
            Image.fromarray(draw.clip(0, 255).astype(np.uint8)).save(place / f"{number:03}{suffix}")


def last_of(state: dict) -> Last:
    """The checkpoint of a trainer with this state, where it does not matter what else the file says."""
    return Last(config={}, classes=[], shape=[], trainer=state)


def quickly(*arguments: str) -> list[str]:
    """The arguments of a short run, each setting given once."""
    given = {text.partition("=")[0] for text in arguments}
    return [*(text for text in QUICK if text.partition("=")[0] not in given), *arguments]


def quick(*arguments: str) -> Result:
    """One short run of the real program, in this process and in the current folder."""
    (run,) = compose(quickly(*arguments))
    return train(run)


def sync_playwright():
    """Playwright, which starts a browser; a test that needs it is skipped where it is not installed."""
    return pytest.importorskip("playwright.sync_api").sync_playwright()


def metrics(folder: Path) -> list[dict]:
    return [parse_line(line) for line in (folder / "metrics.jsonl").read_bytes().splitlines()]


def timeless(folder: Path) -> list[dict]:
    """The metrics without those that measure time."""
    return [
        {k: v for k, v in row.items() if k not in ("epoch_seconds", "images_per_second")} for row in metrics(folder)
    ]


def in_time(path: Path, text: bytes) -> bool:
    """Whether a file comes to hold this: W&B's service writes on for a moment after a run has ended."""
    give_up = time.monotonic() + 20
    while text not in path.read_bytes() and time.monotonic() < give_up:
        time.sleep(0.1)
    return text in path.read_bytes()


def program(*arguments: str, cwd: Path, module: str = "trainer", **environment: str) -> subprocess.CompletedProcess:
    """`python -m trainer …` as a person starts it, without the seconds that torch takes to load.

    What torch and rich read when they are imported, such as OMP_NUM_THREADS and COLUMNS, is that of the prefork_server.
    """
    place = cwd.parent / f"{cwd.name}-program"
    place.mkdir(exist_ok=True)
    files = {name: str(place / f"{len(list(place.iterdir()))}.{name}") for name in ("stdout", "stderr")}
    job = {
        "module": module,
        "arguments": arguments,
        "folder": str(cwd),
        "environment": clean_environment(**environment),
    }
    server = prefork_server()
    server.stdin.write(json.dumps(job | files) + "\n")
    server.stdin.flush()
    ready, _, _ = select.select([server.stdout], [], [], 120)
    code = server.stdout.readline() if ready else ""
    if not code:
        prefork_server.cache_clear()
        os.killpg(server.pid, signal.SIGKILL)  # and what it has started
        raise TimeoutError(f"{module} {arguments} takes more than two minutes, or was killed")
    told = [Path(path).read_text() for path in files.values()]
    return subprocess.CompletedProcess([module, *arguments], int(code), *told)


@functools.cache
def prefork_server() -> subprocess.Popen:
    """One for all tests of this worker; it ends with the worker, which holds the other end of its pipe."""
    command, pipe = [sys.executable, Path(__file__).with_name("prefork_server.py")], subprocess.PIPE
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, env=clean_environment(), cwd="/", start_new_session=True
    )


@pytest.fixture(scope="session", autouse=True)
def prefork_server_ends():
    yield
    if prefork_server.cache_info().currsize:
        with prefork_server():  # closes its pipes and waits
            pass


def fresh(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    """`python -m trainer …` in a process of its own, where it matters what is imported and from where."""
    command, environment = [sys.executable, "-m", "trainer", *arguments], clean_environment(**environment)
    return subprocess.run(command, check=False, cwd=cwd, capture_output=True, text=True, timeout=120, env=environment)


def clean_environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "HYDRA_"))}
    # The libraries may lie in a folder that only PYTHONPATH names (scripts/gpu_check.sh).
    path = os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]).rstrip(os.pathsep)
    return kept | {"PYTHONPATH": path, "COLUMNS": "100"} | more


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    """Every test starts in an empty folder, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what is left by a signal ignores the next one
    for number in WARNINGS:
        signal.signal(number, signal.SIG_DFL)
    torch.set_num_threads(1)  # a test of `reproduce` may have left another number: the last bits depend on it
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path.parent / f"{tmp_path.name}-cache"))
    return tmp_path
