"""Try mutated command lines, configurations, checkpoints, data files and images: each is accepted or a one-line error.

python scripts/fuzz.py --examples 2000 [--only command,yaml,checkpoint,idx,cifar,picture] [--processes 20]

The examples are random; a failing one is minimized and printed. `--processes` runs that many command lines in processes
of their own, and looks for a traceback, a hang and a wrong exit code. Exit code 1 if an example failed.
"""

import argparse
import contextlib
import faulthandler
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

import fuzzing  # noqa: E402
from hypothesis import HealthCheck, given, settings  # noqa: E402

SECONDS = 20  # an example that takes longer hangs

DRY = {"sweep.dry_run": "true", "dataset": "digits", "epochs": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=2000, help="of each target")
    parser.add_argument("--only", default=",".join(["command", *fuzzing.TARGETS]))
    parser.add_argument("--processes", type=int, default=0)
    options = parser.parse_args()
    found = 0
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        for name in options.only.split(","):
            found += fuzz(name, options.examples, Path(temporary))
        found += sum(not passes(arguments) for arguments in _drawn(options.processes)) if options.processes else 0
        os.chdir(ROOT)
    sys.exit(1 if found else 0)


class Hangs(BaseException):
    """An example takes too long. It is no Exception, which the tested code could catch."""


@contextlib.contextmanager
def ended(example: object) -> Iterator[None]:
    """Raise Hangs in an example that takes too long; end the process if it executes no Python code."""

    def interrupt(*_: object) -> None:
        raise Hangs(f"an example takes more than {SECONDS} seconds: {example!r:.2000}")

    signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(SECONDS)
    faulthandler.dump_traceback_later(2 * SECONDS, exit=True)
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()


def fuzz(name: str, examples: int, folder: Path) -> int:
    """Print the number of examples, or the failing one. Return 0, or 1 if one failed."""
    rules = settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    ends, started = Counter(), time.monotonic()
    strategy = fuzzing.command_lines() if name == "command" else fuzzing.TARGETS[name][0]()

    @rules
    @given(strategy)
    def attempt(example):
        silent = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
        with ended(example), silent[0], silent[1]:
            if name == "command":
                fuzzing.try_command_line(example)
                ends[None] += 1
            else:
                ends[fuzzing.TARGETS[name][1](example, folder)] += 1

    try:
        attempt()
    except BaseException:
        print(f"{name}: found after {ends.total()} examples\n{traceback.format_exc()}", flush=True)
        return 1
    came = ", ".join(f"{count} {end}" for end, count in ends.items() if end)
    seconds = f"{time.monotonic() - started:.0f} s"
    print(f"{name}: {ends.total()} examples, nothing found ({came + '; ' if came else ''}{seconds})", flush=True)
    rare = [end for end in fuzzing.ENDS.get(name, ()) if ends[end] < ends.total() / 20]
    if rare:
        print(f"{name}: hardly any came to be {', '.join(rare)}: what lies behind is not tried", flush=True)
    return 1 if rare else 0


def _drawn(count: int) -> list[list[str]]:
    drawn: list[list[str]] = []

    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(fuzzing.command_lines())
    def draw(arguments):
        drawn.append(arguments)

    draw()
    return [each for each in drawn if not any("\0" in text for text in each)][:count]


def passes(arguments: list[str]) -> bool:
    """Run the program itself with `--cfg job`, which trains nothing."""
    shown = arguments if {"-m", "--multirun"} & set(arguments) else ["--cfg", "job", *arguments]
    typed = {text.lstrip("+").partition("=")[0] for text in arguments}  # under -m a key is given once
    dry = [f"{key}={value}" for key, value in DRY.items() if key not in typed] if shown is arguments else []
    command = [sys.executable, "-m", "trainer", *shown, *dry]
    encoded = [text.encode("utf-8", "surrogatepass") for text in command]
    try:
        done = subprocess.run(encoded, check=False, capture_output=True, text=True, errors="replace", timeout=120)
    except subprocess.TimeoutExpired:
        print(f"process: hangs: {arguments!r}", flush=True)
        return False
    right = done.returncode in (0, 1, 2) and "Traceback" not in done.stderr
    if not right:
        print(f"process: exit code {done.returncode}: {arguments!r}\n{done.stderr[-2000:]}", flush=True)
    return right


if __name__ == "__main__":
    main()
