"""Single writes of a run that fail, by a C library that stands before the system's: used by `attack_records.py`."""

import ctypes
import errno
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

PRELOADED = "ATTACKED_WRITES"
LIBRARY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <unistd.h>
#include <stdio.h>

static long count = 0, failing = -1;
static int code = 0;
void fail_at(long number, int with) { count = 0; failing = number; code = with; }
long counted(void) { return count; }
static int fails(void) { if (++count != failing) return 0; errno = code; return 1; }
#define REAL(name, type, ...) \
    static type (*real)(__VA_ARGS__); if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

ssize_t write(int file, const void *bytes, size_t size) {
    REAL(write, ssize_t, int, const void *, size_t);
    return file > 2 && fails() ? -1 : real(file, bytes, size);
}
int fsync(int file) { REAL(fsync, int, int); return fails() ? -1 : real(file); }
int rename(const char *old, const char *new) {
    REAL(rename, int, const char *, const char *);
    return fails() ? -1 : real(old, new);
}
int unlink(const char *path) { REAL(unlink, int, const char *); return fails() ? -1 : real(path); }
int mkdir(const char *path, unsigned mode) {
    REAL(mkdir, int, const char *, unsigned);
    return fails() ? -1 : real(path, mode);
}
"""
TINY = ["dataset=digits", "dataset.image_size=8", "model=mlp", "model.hidden=[8]", "device=cpu", "wandb.mode=disabled"]
TINY += ["epochs=3", "checkpoint_minutes=null"]
TIMES = ("epoch_seconds", "images_per_second", "checksum")
ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT)


def attacked(place: Path, errors: int) -> int:
    """Print what became of a run of which one write fails, so many times. Return how many ended wrongly."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        print("writes that fail: left out, there is no C compiler", flush=True)
        return 0
    source, library = place / "writes.c", place / "writes.so"
    source.write_text(LIBRARY)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    variables = {**os.environ, "LD_PRELOAD": str(library), PRELOADED: f"{place}:{errors}"}
    return subprocess.run([sys.executable, __file__], env=variables, check=False).returncode


def _attack(place: Path, errors: int) -> int:
    from trainer.cli import train  # noqa: F401 - loaded once, before the forks
    from trainer.run import train as _  # noqa: F401

    total, wrong = _run(place / "calm", [*TINY, "output_dir=run"], -1, 0)[1], 0
    whole, ends = _metrics(place / "calm"), Counter[str]()
    draw = random.Random(0)
    for number in sorted(draw.sample(range(1, total + 1), min(errors, total))):
        folder, error = place / f"failed-{number}", draw.choice(ERRORS)
        code, _count, said = _run(folder, [*TINY, "output_dir=run"], number, error)
        what = f"write {number} of {total} with {errno.errorcode[error]}: exit code {code}"
        resumed = ["resume=run"] if (folder / "run" / "config.yaml").is_file() else [*TINY, "output_dir=run"]
        again, _count, then = _run(folder, resumed, -1, 0)
        left = [path.name for path in folder.rglob("*.writing")]
        same = again == 0 and _metrics(folder) == whole and (folder / "run" / "result.json").is_file()
        right = code in (0, 1, 2) and "Traceback" not in said + then and same and not left
        ends["as undisturbed" if code == 0 else "an error of one line"] += right
        if not right:
            wrong += 1
            print(f"WRONG: {what}, then {again}, left {left}\n{said[-800:]}\n{then[-800:]}", flush=True)
        shutil.rmtree(folder)
    found = ", ".join(f"{count} {end}" for end, count in ends.items())
    print(f"writes that fail: {found}; continued afterwards like an undisturbed run; {wrong} wrong", flush=True)
    return wrong


def _run(folder: Path, arguments: list[str], number: int, error: int) -> tuple[int, int, str]:
    """Fork the program with one failing write. Return its exit code, the number of its writes and its output."""
    folder.mkdir(exist_ok=True)
    process = os.fork()
    if not process:
        os.chdir(folder)
        output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ["trainer", *arguments]
        writes = ctypes.CDLL(os.environ["LD_PRELOAD"])
        from trainer.cli.main import main

        writes.fail_at(ctypes.c_long(number), ctypes.c_int(error))
        code = 99
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException:
            import traceback

            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        Path("count.txt").write_text(str(writes.counted()))
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    count = folder / "count.txt"
    return code, int(count.read_text()) if count.is_file() else 0, (folder / "output.txt").read_text()


def _metrics(folder: Path) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import torch

    torch.set_num_threads(1)
    where, _, many = os.environ[PRELOADED].rpartition(":")
    sys.exit(min(_attack(Path(where), int(many)), 100))
