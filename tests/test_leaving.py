"""The end of a process: its exit code, and that nothing is left undone."""

import subprocess
import sys

import pytest

# Written by a thread that outlives main, by what was left for the exit, and to a buffer that nobody flushed.
SCRIPT = """
import atexit, sys, threading, time
from trainer.leaving import program

class Kept:
    def __del__(self):
        print("taken apart")

kept = Kept()

def main():
    atexit.register(print, "at exit")
    threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
    print("main", end=" ")
    {end}

program(main)
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
def test_a_process_ends_with_its_code_and_nothing_undone(end):
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(end=end)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (ENDS[end][0], "main thread\nat exit\n")
    assert done.stderr.endswith(ENDS[end][1])


def test_a_reader_that_has_gone_changes_no_code(monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    done = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" | true; echo ${PIPESTATUS[0]}', sys.executable, SCRIPT.format(end="sys.exit(3)")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("3\n", "")
