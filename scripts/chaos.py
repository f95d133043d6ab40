"""Kills a run or a study at random moments, starts it again each time, and compares with an undisturbed one.

python scripts/chaos.py --kills 2 -m experiment=weight_decay dataset=mnist data_dir=/data seed=0,1,2 epochs=3
python scripts/chaos.py --kills 20 dataset=digits epochs=30 augmentation=lecture

Compared are the hashes of the weights in every `last.pt`, the metrics but for their times, and of a study the table.
Exit code 1 if anything differs or cannot be read. `--seed` repeats the moments.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

TIMES = ("epoch_seconds", "images_per_second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options, arguments = parser.parse_known_args()
    draw, study = random.Random(options.seed), bool({"-m", "--multirun"} & set(arguments))
    with tempfile.TemporaryDirectory() as temporary:
        calm, wild = Path(temporary) / "calm", Path(temporary) / "wild"
        started = time.monotonic()
        code = start(arguments, calm, study).wait()
        whole = time.monotonic() - started
        print(f"undisturbed: {whole:.1f} s, exit code {code}", flush=True)
        # The moments lie anywhere in what is left, so that late epochs are hit as well as early ones.
        left = whole
        for number in range(1, options.kills + 1):
            moment = draw.uniform(0.2, 0.7) * max(left, 12.0)
            process = start(arguments, wild, study)
            try:
                process.wait(moment)
                print(f"kill {number}: it had ended before {moment:.1f} s", flush=True)
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            left -= moment * 0.8  # the rest is start-up
            print(f"kill {number} after {moment:.1f} s: {progress(wild)}", flush=True)
        again = start(arguments, wild, study).wait()
        wrong = compare(calm, wild) + (again != code)
        print(f"after {options.kills} kills: exit code {again}, {wrong} differences", flush=True)
    sys.exit(1 if wrong else 0)


def start(arguments: list[str], folder: Path, study: bool) -> "subprocess.Popen[bytes]":
    """A study goes on by its own command; a run by `resume`, once it has a folder."""
    folder.mkdir(exist_ok=True)
    if not study:
        arguments = ["resume=run"] if (folder / "run" / "config.yaml").is_file() else [*arguments, "output_dir=run"]
    with (folder / "output.txt").open("ab") as output:
        command = [sys.executable, "-m", "trainer", *arguments]
        return subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, start_new_session=True)


def progress(folder: Path) -> str:
    lines = {path: len(path.read_text().splitlines()) for path in folder.rglob("metrics.jsonl")}
    return f"{len(lines)} runs begun, {sum(lines.values())} epochs"


def compare(calm: Path, wild: Path) -> int:
    """Prints and counts what differs."""
    differences = 0
    for path in sorted(calm.rglob("last.pt")):
        other = wild / path.relative_to(calm)
        seen = [_weights(path), _weights(other)], [_metrics(path.parent), _metrics(other.parent)]
        for what, (one, two) in zip(("weights", "metrics"), seen, strict=True):
            if one != two:
                differences += 1
                print(f"{path.parent.relative_to(calm)}: the {what} differ", flush=True)
    for path in calm.rglob("table.csv"):
        same = path.read_bytes() == (wild / path.relative_to(calm)).read_bytes()
        print(f"table of {path.parent.name}: {'the same to the last digit' if same else 'DIFFERENT'}", flush=True)
        differences += not same
    print(f"{len(list(calm.rglob('last.pt')))} runs compared", flush=True)
    return differences


def _weights(path: Path) -> str:
    try:
        model = torch.load(path, weights_only=True)["trainer"]["model"]
    except Exception as error:  # whatever it is, it is what this looks for
        return f"{path} cannot be read: {error}"
    digest = hashlib.sha256()
    for name, tensor in model.items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def _metrics(folder: Path) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


if __name__ == "__main__":
    main()
