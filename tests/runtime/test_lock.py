"""The lock lets one process at a time work in a run's folder."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import TINY, clean_environment, compose, metrics, program, quick

from trainer.errors import ConfigError, RunError
from trainer.evaluation.ledger import Measurement, Network, append, own_ledger, read_ledger
from trainer.run import train
from trainer.runtime.lock import holder_here, is_held, locked


def test_a_run_that_is_being_trained_is_not_trained_by_a_second_process(in_empty_folder):
    folder = quick(*TINY, "output_dir=run").folder
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}
    with locked(folder):
        ran = program("resume=run", "epochs=9", cwd=in_empty_folder)
        assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
        assert f"trainer: run is being worked on by process {os.getpid()} on " in ran.stderr
        assert "Wait for it, or stop it" in ran.stderr
        assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"} == before
    train(compose(["resume=run", "epochs=3"])[0])
    assert len(metrics(folder)) == 3


def test_a_run_holds_its_folder_while_it_trains(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "trainer.run.with_layer_stats", lambda trainer, config, report: seen.append(is_held(Path("run"))) or report
    )
    quick(*TINY, "output_dir=run")
    assert seen == [True, True] and not is_held(Path("run")) and not (Path("run") / ".lock").read_text()


def test_a_folder_that_was_given_to_another_run_meanwhile_is_left_to_it(monkeypatch):
    from trainer.data.loader import load

    def slow(*arguments):
        Path("run").mkdir()
        (Path("run") / "config.yaml").write_text("the other's")
        return load(*arguments)

    monkeypatch.setattr("trainer.run.load", slow)
    with pytest.raises(ConfigError, match=r"^output_dir=run: is not empty\. Name another folder, or continue its run"):
        quick(*TINY, "output_dir=run")
    assert [path.name for path in Path("run").iterdir()] == ["config.yaml"]


def test_a_folder_that_is_moved_while_the_data_are_read_is_not_created_again(monkeypatch):
    from trainer.data.loader import load

    def slow(*arguments):
        Path("run").rename("away")
        return load(*arguments)

    quick(*TINY, "output_dir=run")
    monkeypatch.setattr("trainer.run.load", slow)
    with pytest.raises(RunError, match=r"^run/\.lock could not be written: No such file or directory$"):
        train(compose(["resume=run", "epochs=3"])[0])
    assert not Path("run").exists()


def test_a_file_system_without_locks_can_be_used(monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert quick(*TINY, "output_dir=run").epochs == 2
    append(own_ledger(), Measurement((Network("run", "0" * 64, None, 0.5, 0.1),), "data", 10, 0.5, None, None))
    assert [reading.accuracy for reading in read_ledger(own_ledger())] == [0.5]


def test_a_killed_process_releases_its_lock(in_empty_folder):
    Path("run").mkdir()
    waiting = (
        "import sys, time; from pathlib import Path; from trainer.runtime.lock import locked\n"
        "with locked(Path('run')): print('held', flush=True); time.sleep(99)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", waiting], stdout=subprocess.PIPE, cwd=in_empty_folder, env=clean_environment()
    ) as process:
        assert process.stdout.readline() == b"held\n"
        assert is_held(Path("run")) and holder_here(Path("run")) == process.pid
        with (
            pytest.raises(RunError, match=f"^run is being worked on by process {process.pid} on "),
            locked(Path("run")),
        ):
            pass
        assert holder_here(Path("run")) == process.pid  # the refused process left the note
        process.send_signal(signal.SIGKILL)
    assert not is_held(Path("run"))
    with locked(Path("run")):
        assert holder_here(Path("run")) == os.getpid()


def test_a_shared_lock_of_a_moment_is_waited_for():
    Path("run").mkdir()
    with (Path("run") / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        threading.Timer(0.05, fcntl.flock, (lock.fileno(), fcntl.LOCK_UN)).start()
        with locked(Path("run")):
            assert holder_here(Path("run")) == os.getpid()


def test_a_link_for_a_lock_is_not_followed():
    Path("run").mkdir()
    Path("mine").write_text("mine")
    (Path("run") / ".lock").symlink_to(Path("mine").absolute())
    with (
        pytest.raises(RunError, match=r"^run/\.lock could not be written: Too many levels of symbolic links$"),
        locked(Path("run")),
    ):
        pass
    assert Path("mine").read_text() == "mine" and not is_held(Path("run"))


def test_a_pipe_for_a_lock_is_not_waited_for():
    Path("run").mkdir()
    os.mkfifo("run/.lock")
    assert not is_held(Path("run")) and holder_here(Path("run")) is None
    with (
        pytest.raises(RunError, match=r"^run/\.lock could not be written: is not a regular file$"),
        locked(Path("run")),
    ):
        pass


def test_a_long_note_is_quoted_in_one_line():
    Path("run").mkdir()
    with Path("run/.lock").open("w+") as lock:
        lock.write("x\n" * 10**6)
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunError, match=r"^run is being worked on by (x\?){100}\. Wait for it"), locked(Path("run")):
            pass


def test_the_note_of_an_ended_process_is_ignored():
    """Another process may have its number by now, which must not be stopped."""
    Path("run").mkdir()
    with locked(Path("run")):
        note = Path("run/.lock").read_text()
        assert holder_here(Path("run")) == os.getpid()
    Path("run/.lock").write_text(note)
    assert holder_here(Path("run")) is None
