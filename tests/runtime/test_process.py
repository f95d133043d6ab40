"""The settings of a process that trains, its exit code and its end (threads, exit handlers, unflushed output)."""

import gc
import os
import platform
import resource
import subprocess
import sys

import pytest
from conftest import ROOT, clean_environment

from trainer.runtime.process import MALLOC_VARIABLES, configure_process, gc_paused

# Output of a thread that outlives main, of an exit handler, and of a buffer that is not flushed.
SCRIPT = """
import atexit, sys, threading, time
from trainer.runtime.process import run_and_exit

class Kept:
    def __del__(self):
        print("taken apart")

kept = Kept()

def main():
    atexit.register(print, "at exit")
    threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
    print("main", end=" ")
    {end}
    return 0

run_and_exit(main)
"""
ENDS = {
    "pass": (0, ""),
    "sys.exit()": (0, ""),
    "sys.exit(0)": (0, ""),
    "sys.exit(75)": (75, ""),
    "sys.exit('why')": (1, "why\n"),
    "1 / 0": (1, "ZeroDivisionError: division by zero\n"),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_process_ends_with_its_code_after_threads_and_exit_handlers(end):
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(end=end)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (ENDS[end][0], "main thread\nat exit\n")
    assert done.stderr.endswith(ENDS[end][1])


EARLIER = "import atexit; atexit.register(print, 'registered earlier')"


@pytest.mark.parametrize("others", ["a handler", "a preloaded library"])
def test_what_others_left_for_the_exit_runs(others, tmp_path):
    """As coverage, tracers and a site's accounting do. The interpreter then shuts down in the ordinary way."""
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}"} if others == "a handler" else {"LD_PRELOAD": "libm.so.6"}
    (tmp_path / "sitecustomize.py").write_text(EARLIER)
    command = [sys.executable, "-c", SCRIPT.format(end="sys.exit(75)")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=clean_environment(**environment))
    expected = "main thread\nat exit\n" + ("registered earlier\n" if others == "a handler" else "") + "taken apart\n"
    assert (done.returncode, done.stdout, done.stderr) == (75, expected, "")


def test_a_closed_pipe_does_not_change_the_exit_code(monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    done = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" | true; echo ${PIPESTATUS[0]}', sys.executable, SCRIPT.format(end="sys.exit(3)")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("3\n", "")


FAULTS = """
import resource, sys
from trainer.runtime.process import configure_process
if "tuned" in sys.argv:
    configure_process()
import torch
def step():
    return torch.empty(10_000_000).fill_(1) + 1  # two tensors of 40 MB
for _ in range(10):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.long
@pytest.mark.skipif(platform.libc_ver() < ("glibc", "2.35"), reason="another C library, or an older one")
def test_freed_memory_is_kept_for_the_next_tensor():
    def faults(*words, **environment):
        own = {name: value for name, value in os.environ.items() if name not in MALLOC_VARIABLES} | environment
        done = subprocess.run([sys.executable, "-c", FAULTS, *words], check=True, capture_output=True, env=own)
        return int(done.stdout)

    pages = 5 * 80_000_000 / resource.getpagesize()
    if faults() < 0.9 * pages:
        pytest.skip("this system's pages are larger than it says")
    assert faults("tuned") < 0.2 * pages  # now and then the first of the ten tensors is mapped
    assert faults("tuned", MALLOC_TRIM_THRESHOLD_="131072") > 0.4 * pages  # the user's setting stays


@pytest.mark.parametrize(
    ("most", "expected"), [(2**31, {-3: 2**30, -1: 2**30}), (2**25, {-3: 2**25, -1: 2**30}), (0, {})]
)
def test_an_older_glibc_gets_the_sizes_that_it_accepts(most, expected, monkeypatch):
    """A stand-in for other versions of glibc. Without -3 (M_MMAP_THRESHOLD), -1 would do harm."""

    class Older:
        def mallopt(self, parameter, value):
            if parameter != -3 or value <= most:
                taken[parameter] = value
                return 1
            return 0

    taken = {}
    for name in MALLOC_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "10000")
    monkeypatch.setattr("ctypes.CDLL", lambda _: Older())
    configure_process()
    assert taken == expected


def test_garbage_is_collected_again_after_the_imports_also_after_a_failure():
    gc.unfreeze()
    with pytest.raises(ImportError), gc_paused():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled() and gc.get_freeze_count() > 10_000
