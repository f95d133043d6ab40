"""Damage the records of runs and studies, and the writing of them: nothing may be taken for another result.

python scripts/attack_records.py [--flips 300] [--errors 100] [--only result.json,study.json] [--seed 0]

One byte of a record is changed, and what reads it is run: its answer must be as before, or tell the damage in a line.
Every flip goes through the functions that reports and tables are made of, every twentieth through the commands, every
hundredth through those that train or load a network. Then single writes of a run are made to fail, by a library that is
compiled and loaded before the program (`failing_writes.py`). Exit code 1 if a flip passed as another result, a run with
an error could not be continued, or anything ended in a traceback.
"""

import argparse
import contextlib
import io
import os
import random
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from trainer.cli.main import main as main_of_program  # noqa: E402
from trainer.config.own_record import recorded  # noqa: E402
from trainer.errors import ConfigError, RunError  # noqa: E402
from trainer.evaluation.ledger import own_ledger, read_ledger  # noqa: E402
from trainer.records.hits import read_hits  # noqa: E402
from trainer.reports.content import of_study  # noqa: E402
from trainer.reports.run_content import of_run  # noqa: E402
from trainer.runtime.text import complain_once  # noqa: E402
from trainer.storage import checkpoint  # noqa: E402
from trainer.storage.untrusted import read_json  # noqa: E402
from trainer.study.manifest import Manifest  # noqa: E402

TINY = ["dataset=digits", "dataset.image_size=8", "model=mlp", "model.hidden=[8]", "device=cpu", "wandb.mode=disabled"]
# Times and speeds, which differ from call to call: in sentences, and in the last columns of an epoch's line.
TIMES = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d|\d+(\.\d+)? (ms|s|min|h)\b|[\d,]+ +\d+\.\d\d(?= *(best)?$)", re.MULTILINE
)
TOLD = re.compile(
    r"damaged|incomplete or altered|edited by hand|not as it was written|^trainer: (?!warning)", re.MULTILINE
)
OFTEN, RARELY = 20, 100  # one of so many flips goes through the commands, and through those that take long
BAD = ("ANOTHER RESULT", "TRACEBACK")
OWN = '''"""A technique of the user's own."""
import torch


def lynx(params, lr, weight_decay):
    """Descend."""
    return torch.optim.SGD(params, lr)
'''


@dataclass(frozen=True)
class Kind:
    """A record: its place, the function that reads it (of a path), the commands that do, and those that take long."""

    name: str
    path: str
    read: Callable[[Path], Any]
    commands: tuple[str, ...]
    rare: tuple[str, ...] = ()


def _of_run(path: Path) -> Any:
    return of_run(Path("run"))


def _of_study(path: Path) -> Any:
    return of_study(Path("study")), [Manifest.read(Path("study")).own_command]


def _hits(path: Path) -> Any:
    return [hits.tolist() for rule in ("cross", "best", "last") if (hits := read_hits(path.parent, rule)) is not None]


def _weights(path: Path) -> Any:
    return b"".join(checkpoint.serialize(checkpoint.load(path)))


RUN = ("show run --all", "list outputs run", "report run", "export run --csv a.csv --epochs b.csv")
TRAINED = ("doctor run", "resume=run", "clean run")
STUDY = ("study study", "report study", "export study --json a.json --csv b.csv --epochs c.csv", "compare study run")
CONTINUED = ("study study continue", "finalize study --seeds 1")
SINGLE = ("config.yaml", "metrics.jsonl", "result.json", "environment.json", "best.json")
LEDGER = ("evaluate --ledger",)
KINDS = (
    *(Kind(name, f"run/{name}", _of_run, RUN, TRAINED) for name in SINGLE),
    Kind("last.safetensors", "run/last.safetensors", _weights, (), TRAINED),
    Kind("best.safetensors", "run/best.safetensors", _weights, (), ("evaluate run", "doctor run")),
    Kind("index.json", "own/techniques/index.json", lambda path: recorded(Path("own")), ("show own",)),
    Kind("study.json", "study/study.json", _of_study, STUDY, CONTINUED),
    *(Kind(f"study/{name}", f"study/*/{name}", _of_study, STUDY, CONTINUED) for name in SINGLE if name[0] != "c"),
    Kind("hits.json", "study/*/hits.json", _hits, STUDY, CONTINUED),
    Kind("job.json", "study/*/job.json", read_json, STUDY, CONTINUED),
    Kind("finalize.json", "study/finalize.json", read_json, ()),
    Kind("ledger", "outputs/test_readings.jsonl", lambda path: read_ledger(own_ledger()), LEDGER, ("evaluate run",)),
    Kind("ledger's head", "outputs/test_readings.head", lambda path: read_ledger(own_ledger()), LEDGER),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=300, help="of each kind of record")
    parser.add_argument("--errors", type=int, default=100, help="writes that are made to fail")
    parser.add_argument("--only", default="", help="kinds of record, separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    only = [name for name in options.only.split(",") if name]
    with tempfile.TemporaryDirectory() as temporary:
        wrong = flipped(Path(temporary), options.flips, only, options.seed) if options.flips else 0
    if options.errors and not only:
        from failing_writes import attacked

        with tempfile.TemporaryDirectory() as temporary:
            wrong += attacked(Path(temporary), options.errors)
    sys.exit(1 if wrong else 0)


def flipped(place: Path, flips: int, only: Sequence[str] = (), seed: int = 0) -> int:
    """Print what became of the flips of each kind of record. Return how many passed as another result or crashed."""
    draw, wrong, before = random.Random(seed), 0, Path.cwd()
    os.environ["XDG_CACHE_HOME"] = str(place / "cache")
    os.chdir(place)
    try:
        kinds = [kind for kind in KINDS if not only or kind.name in only]
        make({kind.path.partition("/")[0] for kind in kinds})
        whole = {path: path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file() and _is_kept(path)}
        for kind in kinds:
            started, ends, expected = time.monotonic(), Counter[str](), dict[str, str]()
            for number in range(flips):
                commands = kind.commands if number % OFTEN == 0 else ()
                commands += kind.rare if number % RARELY == 0 else ()
                end, said = _flip(kind, commands, expected, whole, draw)
                ends[end] += 1
                if end in BAD:
                    print(f"{kind.name}: {said}", flush=True)
            found = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
            print(f"{kind.name}: {found} ({time.monotonic() - started:.0f} s)", flush=True)
            wrong += sum(ends[end] for end in BAD)
    finally:
        os.chdir(before)
    return wrong


def make(wanted: Collection[str]) -> None:
    """Train a run, one with an own technique and a study of six runs, and read the test set: what is wanted of them."""
    Path("mine").mkdir()
    Path("mine/optimizer.py").write_text(OWN)
    for folder, words in (
        ("run", [*TINY, "epochs=4", "output_dir=run"]),  # always: others are compared with it
        ("own", ["--techniques", "mine", *TINY, "epochs=1", "optimizer=lynx", "output_dir=own"]),
        ("study", ["-m", *TINY, "lr=0.0001,0.03", "seed=0,1,2", "epochs=2", "output_dir=study"]),
        ("outputs", ["evaluate", "run"]),
        ("study", ["finalize", "study", "--seeds", "1"]),
    ):
        if folder not in {"run", *wanted}:
            continue
        answer = _told(words)
        if not answer.startswith("exit code 0\n"):
            raise SystemExit(f"{' '.join(words)}: {answer}")


def _is_kept(path: Path) -> bool:
    return path.parts[0] in ("run", "own", "study", "outputs") and path.name != ".lock"


def _flip(
    kind: Kind, commands: Sequence[str], expected: dict[str, str], whole: dict[Path, bytes], draw: random.Random
) -> tuple[str, str]:
    """Change one byte of a record and read it. Return how it ended, and of a bad end what was done."""
    path = draw.choice(sorted(Path().glob(kind.path)))
    content = bytearray(whole[path])
    place = draw.randrange(len(content))
    old, content[place] = content[place], (content[place] + draw.randrange(1, 256)) % 256
    near = bytes(content[max(0, place - 30) : place + 30])
    what = f"{path}, byte {place}: {old:#04x} to {content[place]:#04x} in {near!r}"
    end = "the same"
    for words in ("", *commands):
        reader: Any = words.split() if words else lambda: kind.read(path)
        key = words or str(path)  # the answer of a function may hold the path
        if key not in expected:
            expected[key] = _answer(reader, whole)
        path.write_bytes(content)
        answer = _answer(reader, whole)
        if "Traceback (most recent call last)" in answer:
            return "TRACEBACK", f"{what}: {words}: {answer[-1500:]}"
        if answer != expected[key]:
            if not TOLD.search(answer):
                lines = sorted(set(answer.splitlines()) ^ set(expected[key].splitlines()))
                return "ANOTHER RESULT", f"{what}: {words}: {str(lines)[:1500]}"
            end = "told"
    return end, ""


def _answer(reader: Any, whole: dict[Path, bytes]) -> str:
    """Return all that a command or function says and writes, without times; put the records back as they were."""
    text = _told(reader)
    made = [*sorted(Path().glob("*.csv")), *sorted(Path().glob("*.json")), *sorted(Path().glob("*/report.html"))]
    text += "".join(path.read_text() for path in made)
    for path in [path for path in Path().rglob("*") if path.is_file() and path not in whole]:
        if _is_kept(path) or path in made:
            path.unlink()
    for path, content in whole.items():
        if not path.is_file() or path.read_bytes() != content:
            path.unlink(missing_ok=True)
            path.write_bytes(content)
    return TIMES.sub("", text)


def _told(reader: Any) -> str:
    """Run the program with these words, or call the function, in this process. Return what comes of it as a text."""
    output, before = io.StringIO(), sys.argv
    complain_once.cache_clear()
    code: Any = 0
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            if callable(reader):
                output.write(repr(reader()))
            else:
                sys.argv = ["trainer", *reader]
                code = main_of_program(list(reader))
        except (ConfigError, RunError, ValueError) as error:
            if callable(reader):
                output.write(f"trainer: {error}")
            else:
                output.write(traceback.format_exc())
        except SystemExit as error:
            code = error.code
        except Exception:
            output.write(traceback.format_exc())
        finally:
            sys.argv = before
    return f"exit code {code}\n{output.getvalue()}\n"


if __name__ == "__main__":
    main()
