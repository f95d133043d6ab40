"""Starts the program as a person does, but with its libraries loaded: one process has imported them, and forks.

A line of JSON in, {module, arguments, folder, environment, stdout, stderr}; the exit code out. A start takes a tenth of
the time. What is imported, and when, is tested with processes of their own.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import sys
import threading
import traceback


def main() -> None:
    for name in ("torch._dynamo", "torchvision", "scipy.stats", "trainer.run", "trainer.study.execute"):
        importlib.import_module(name)
    gc.freeze()  # what was imported is collected by no child: touched, it would be copied
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            break
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    else:
        os._exit(0)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    for number, path in enumerate((os.devnull, job["stdout"], job["stderr"])):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
    sys.argv = [job["module"], *job["arguments"]]
    code = _run(job["module"])
    threading._shutdown()  # waits for threads, as an interpreter that ends does
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # what was imported is taken down by none: that takes longer than the program


def _run(module: str) -> int:
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as leaving:
        if isinstance(leaving.code, str):
            print(leaving.code, file=sys.stderr)
        return int(leaving.code or 0) if not isinstance(leaving.code, str) else 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    main()
