"""Starts the program as a person does, but with its libraries loaded: one process has imported them, and forks.

A line of JSON in, {module, arguments, folder, environment, stdout, stderr}; the exit code out. A start takes a tenth of
the time. What is imported, and when, is tested with processes of their own.
"""

import importlib
import json
import os
import runpy
import sys


def main() -> None:
    for name in ("torch._dynamo", "torchvision", "scipy.stats", "trainer.run", "trainer.study.conduct"):
        importlib.import_module(name)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            break
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    else:
        return
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    for number, path in enumerate((os.devnull, job["stdout"], job["stderr"])):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
    sys.argv = [job["module"], *job["arguments"]]
    runpy.run_module(job["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
