"""Check on one GPU, in eight minutes, every promise that needs one; write one JSON file and one Markdown page.

python scripts/gpu_check.py                          on a machine with a GPU; results in gpu_check/
python scripts/gpu_check.py --data-dir FOLDER        with CIFAR-10 (its archive, or image files in train/ and test/)
python scripts/gpu_check.py --device cpu --small     the script itself, tried on a CPU; its figures mean nothing

Each part runs in processes of its own, has a limit in seconds, and writes its results at once; one that fails or
reaches its limit does not end the others. scripts/gpu_check.sh packs what a machine without a network needs.
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from gpu_page import page
from rich.console import Console

SCRIPTS = Path(__file__).resolve().parent
ROOT = SCRIPTS.parent
TOTAL_SECONDS = 480
STOP_SECONDS = 3  # after its limit, for a part to write what it has
TESTS_STOP_SECONDS = 25  # pytest waits for its workers before it does
# Not all of tests/: some of its modules import what the machine need not have, at which pytest would not begin.
TESTS = "tests/training/test_gpu.py"
console = Console(stderr=True)
Words = list[str]


class Check:
    """The parts that have run, and the time that is left."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments, self.out = arguments, arguments.out.absolute()
        self.out.mkdir(parents=True, exist_ok=True)
        self.started = time.monotonic()
        self.parts: dict[str, dict[str, Any]] = {}
        self.machine = machine(arguments.device)
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
        self.environment |= {"XDG_CACHE_HOME": str(self.out / "cache"), "COLUMNS": "120"}

    @property
    def left(self) -> float:
        """The seconds that are left for all parts that follow."""
        return float(self.arguments.seconds - (time.monotonic() - self.started))

    def part(self, name: str, limit: float, words: Words, read: Callable[[], Any], folder: Path = ROOT) -> None:
        """Run a command for at most `limit` seconds and keep what `read` returns afterwards, in every case."""
        if self.arguments.only and name not in self.arguments.only:
            return
        limit = min(limit, self.left)
        began = time.monotonic()
        console.print(f"{name}: at most {limit:.0f} s")
        if limit < 5:
            self.parts[name] = {"state": "not run: no time was left", "seconds": 0.0, "result": None}
        else:
            code, last = self._run(name, words, limit, folder)
            state = {None: f"stopped at its limit of {limit:.0f} s", 0: "done"}.get(code, f"exit code {code}: {last}")
            result = None
            with contextlib.suppress(OSError, ValueError, LookupError, ElementTree.ParseError):
                result = read()
            self.parts[name] = {"state": state, "seconds": time.monotonic() - began, "result": result}
        console.print(f"{name}: {self.parts[name]['state']}, {self.parts[name]['seconds']:.0f} s")
        self.write()

    def _run(self, name: str, words: Words, limit: float, folder: Path) -> tuple[int | None, str]:
        """Return the exit code, None at the limit, and the last line of the output, which goes to a log."""
        log = self.out / f"{name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                words, stdout=file, stderr=file, cwd=folder, env=self.environment, start_new_session=True
            )
            try:
                code = process.wait(limit)
            except subprocess.TimeoutExpired:
                code = None
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(TESTS_STOP_SECONDS if name == "tests" else STOP_SECONDS)
            finally:
                with contextlib.suppress(ProcessLookupError):  # its workers, too
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        lines = log.read_text(errors="replace").strip().splitlines()
        return code, lines[-1] if lines else "no output"

    def write(self) -> None:
        """Write the JSON file and the page as they stand."""
        content = {"machine": self.machine, "seconds": time.monotonic() - self.started, "parts": self.parts}
        (self.out / "gpu_check.json").write_text(json.dumps(content, indent=1))
        (self.out / "gpu_check.md").write_text(page(content))


def machine(device: str) -> dict[str, str]:
    """Return card, driver, versions, date, commit and command."""
    import torch

    def said_by(*words: str) -> str:
        with contextlib.suppress(OSError):
            done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=ROOT)
            if done.returncode == 0 and done.stdout.strip():
                return done.stdout.strip().splitlines()[0]
        return "unknown"

    card = torch.cuda.get_device_name() if device == "cuda" else "none (tried on a CPU: the figures mean nothing)"
    return {
        "date": str(date.today()),
        "card": card,
        "driver": said_by("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cores": str(os.cpu_count()),
        "commit": said_by("git", "rev-parse", "--short", "HEAD"),
        "command": " ".join(["python scripts/gpu_check.py", *sys.argv[1:]]),
    }


def tests_result(path: Path) -> dict[str, Any]:
    """Return the counts of pytest's JUnit file, and (name, first line of the error) of each failure."""
    suite = next(ElementTree.parse(path).getroot().iter("testsuite"))
    counts = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
    failed = [
        (case.get("name"), (problem.get("message") or "").strip().splitlines()[:1])
        for case in suite.iter("testcase")
        for problem in (*case.iter("failure"), *case.iter("error"))
    ]
    return {**counts, "failed": failed}


def cifar10_in(folder: Path) -> Path | None:
    """Return where CIFAR-10 lies in a folder: itself or its cifar10/ (see gpu_check.sh); None if it is not there."""
    places = (folder, folder / "cifar10")
    return next((place for place in places if (place / "train").is_dir() or any(place.glob("cifar-10-*"))), None)


def contenders(check: Check, data_dir: Path | None) -> None:
    """Compare whole processes: floor, trainer and, where they are installed, a DataLoader loop and Lightning."""
    import importlib.util

    needs = {"floor": "torch", "trainer": "torch", "loader": "torchvision", "lightning": "lightning"}
    names = [name for name, package in needs.items() if importlib.util.find_spec(package)]
    small = check.arguments.small
    options = ["--rounds", "1", "--epochs", "1" if small else "3", "--batch-sizes", "512", "--augmentations", "none"]
    options += ["--contenders", *(names[:2] if small else names), "--json", str(check.out / "contenders.json")]
    pictures = data_dir and (data_dir / "train").is_dir()  # not the archive, which the benchmark does not read
    options += ["--data-dir", str(data_dir)] if pictures else ["--images", "600" if small else "20000"]
    words = [sys.executable, str(SCRIPTS / "benchmark.py"), *options]
    check.part("contenders", 70, words, lambda: json.loads((check.out / "contenders.json").read_text()))


def recipe(check: Check, data_dir: Path | None, scratch: Path) -> None:
    """Train `experiment=cifar10_94` once with validation, then five seeds on all images, and read the test set once."""
    archive = data_dir and any(data_dir.glob("cifar-10-*"))
    words = [f"dataset={'cifar10' if archive else 'image_folder'}", f"data_dir={data_dir}", "experiment=cifar10_94"]
    seeds = "5"
    if check.arguments.small:
        words, seeds = ["dataset=digits", "model=mlp", "epochs=1"], "2"
    words += [f"device={check.arguments.device}", "wandb.mode=disabled", "sweep.name=recipe"]
    trainer = [sys.executable, "-m", "trainer"]

    def runs(pattern: str) -> list[dict[str, Any]]:
        files = sorted(scratch.glob(f"outputs/sweeps/recipe*/{pattern}/metrics.jsonl"))
        curves = [[json.loads(line) for line in path.read_text().splitlines()] for path in files]
        seconds = [sum(row["epoch_seconds"] for row in rows) for rows in curves]
        last = [rows[-1]["validation_accuracy"] for rows in curves]
        return [{"seconds": each, "validation": accuracy} for each, accuracy in zip(seconds, last, strict=True)]

    def final() -> dict[str, Any]:
        (card,) = scratch.glob("outputs/sweeps/recipe*/finalize.json")
        accuracies = [network["accuracy"] for network in json.loads(card.read_text())["networks"]]
        return {"runs": runs("final/*"), "accuracies": accuracies}

    check.part("recipe", 50, [*trainer, "-m", *words, "seed=0"], lambda: runs("*"), scratch)
    folders = list(map(str, scratch.glob("outputs/sweeps/recipe*")))
    finalize = [*trainer, "finalize", *folders, "--seeds", seeds, "--device", check.arguments.device]
    check.part("recipe on the test set", 110, finalize, final, scratch)


def main() -> None:
    arguments = _arguments()
    check = Check(arguments)
    small, device = arguments.small, arguments.device
    data_dir = arguments.data_dir and cifar10_in(arguments.data_dir.absolute())
    tests = check.out / "tests.xml"
    words = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", TESTS, "-p", "no:cacheprovider"]
    words += ["-W", "default"]  # other libraries than those of CI, whose warnings are no errors
    words += [f"--junitxml={tests}", "-n", "0" if small else "6", *(["-k", "overflow"] if small else [])]
    check.environment |= {"TRAINER_GPU_TESTS_ON": device}
    check.part("tests", 120, words, lambda: tests_result(tests))
    for name, limit in (("steps", 70), ("studies", 100)):
        result = check.out / f"{name}.json"
        words = [sys.executable, str(SCRIPTS / "gpu_measure.py"), name, "--result", str(result), "--device", device]
        check.part(name, limit, words + (["--small"] if small else []), lambda at=result: json.loads(at.read_text()))
    contenders(check, None if small else data_dir)
    if data_dir or small:
        with tempfile.TemporaryDirectory() as scratch:
            recipe(check, data_dir, Path(scratch))
    print((check.out / "gpu_check.md").read_text())
    console.print(f"{check.out}: gpu_check.json, gpu_check.md and a log of each part")
    sys.exit(any(part["state"] != "done" for part in check.parts.values()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="the smallest sizes, to try the script itself")
    parser.add_argument("--out", type=Path, default=Path("gpu_check"), help="folder of the results")
    parser.add_argument("--data-dir", type=Path, help="CIFAR-10: the folder of its archive or of image files")
    parser.add_argument("--seconds", type=float, default=TOTAL_SECONDS, help="limit of all parts together")
    parser.add_argument("--only", nargs="+", help="parts, by the names that the page has")
    arguments = parser.parse_args()
    if arguments.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            parser.error("there is no GPU here; --device cpu --small tries the script itself")
    return arguments


if __name__ == "__main__":
    main()
