"""Each worker of a launcher takes a GPU of its own, in turn, and keeps it as long as it lives."""

import contextlib
import os
import subprocess
import sys

import pytest
from conftest import clean_environment

from trainer.runtime.gpus import VISIBLE, listed_gpus, visible_gpus

WORKER = f"""
import os, sys
from trainer.runtime.gpus import take_gpu
for job in range(2):
    take_gpu(sys.argv[1:])
    print(os.environ.get("{VISIBLE}"), flush=True)
assert "torch" not in sys.modules
sys.stdin.read()
"""
TWO = """
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aa11)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bb22)
"""
DIVIDED = """
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aa11)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bb22)
  MIG 3g.20gb     Device  0: (UUID: MIG-cc33)
  MIG 3g.20gb     Device  1: (UUID: MIG-GPU-bb22/2/0)
GPU 2: NVIDIA A100-SXM4-40GB (UUID: GPU-dd44)
"""
BROKEN = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."


@pytest.fixture
def machine(in_empty_folder, monkeypatch):
    """A function that puts an nvidia-smi with this list on the path."""
    monkeypatch.delenv(VISIBLE, raising=False)
    monkeypatch.setenv("PATH", f"{in_empty_folder}{os.pathsep}{os.environ['PATH']}")

    def install(listed: str, code: int = 0) -> None:
        file = in_empty_folder / "nvidia-smi"
        file.write_text(f'#!/bin/sh\n[ "$*" = -L ] || exit 2\ncat <<END\n{listed}\nEND\nexit {code}\n')
        file.chmod(0o755)

    return install


@pytest.mark.parametrize(
    ("listed", "code", "names"),
    [
        (TWO, 0, ["GPU-aa11", "GPU-bb22"]),
        (DIVIDED, 0, ["GPU-aa11", "MIG-cc33", "MIG-GPU-bb22/2/0", "GPU-dd44"]),  # CUDA uses the parts of a divided one
        (BROKEN, 9, []),
        ("No devices found.", 6, []),
    ],
)
def test_the_gpus_of_a_machine_are_those_of_nvidia_smi(machine, listed, code, names):
    machine(listed, code)
    assert listed_gpus() == visible_gpus() == names


def test_a_machine_without_a_driver_has_no_gpus(monkeypatch, in_empty_folder):
    monkeypatch.delenv(VISIBLE, raising=False)
    monkeypatch.setenv("PATH", str(in_empty_folder))
    assert visible_gpus() == []
    monkeypatch.setenv(VISIBLE, "2,GPU-ee55")  # another system's driver: what a person names is believed
    assert visible_gpus() == ["2", "GPU-ee55"]


@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        ("1", ["1"]),
        ("1, 0", ["1", "0"]),
        ("GPU-bb22,MIG-GPU-bb22/2/0", ["GPU-bb22", "MIG-GPU-bb22/2/0"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),  # of Slurm
        ("0,-1,1", ["0"]),  # CUDA stops at the first that it cannot use
        ("0,7,1", ["0"]),  # the machine has two
    ],
)
def test_the_variable_that_is_set_already_is_honoured(machine, monkeypatch, allowed, names):
    machine(TWO)
    monkeypatch.setenv(VISIBLE, allowed)
    assert visible_gpus() == names


def test_workers_take_the_gpus_in_turn_and_a_new_one_replaces_a_killed_one():
    first, second = f"GPU-a{os.getpid()}", f"MIG-GPU-b{os.getpid()}/1/0"  # names that no other test uses
    with contextlib.ExitStack() as stack:

        def start(*gpus: str) -> tuple[subprocess.Popen, list[str]]:
            command, pipe = [sys.executable, "-c", WORKER, *gpus], subprocess.PIPE
            worker = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=clean_environment())
            stack.enter_context(worker)
            stack.callback(worker.kill)
            return worker, [worker.stdout.readline().strip() for _ in range(2)]

        workers = [start(first, second) for _ in range(5)]
        # The second job of a worker keeps the GPU of the first.
        assert [taken for _, taken in workers] == [[gpu, gpu] for gpu in (first, second, first, second, first)]
        for number in (1, 3):
            workers[number][0].kill()
            workers[number][0].wait()
        assert [start(first, second)[1][0] for _ in range(3)] == [second, second, second]
        assert start(first)[1] == [first, first]
        assert start()[1][0] == os.environ.get(VISIBLE, "None")
