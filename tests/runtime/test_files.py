"""Files that are replaced as a whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.errors import RunError
from trainer.runtime.files import write_text


def test_a_pipe_or_a_device_is_no_file_to_replace(in_empty_folder):
    os.mkfifo("pipe")
    Path("link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(RunError) as caught:
            write_text(Path(name), "text")
        assert str(caught.value) == f"{name} could not be written: it is not a regular file"
    assert Path("pipe").is_fifo() and sorted(path.name for path in Path().iterdir()) == ["link", "pipe"]


def test_what_a_killed_process_left_of_a_file_is_removed_when_it_is_written_again(in_empty_folder):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for name in ("config.yaml", "config[1].yaml"):
        dead, alive, other = (
            Path(f".{of}.{number}.writing")
            for of, number in ((name, ended.pid), (name, os.getppid()), ("other.json", ended.pid))
        )
        for left in (dead, alive, other):
            left.write_text("epo")
        write_text(Path(name), "epochs: 1\n")
        assert (dead.exists(), alive.exists(), other.exists()) == (False, True, True)
        assert Path(name).read_text() == "epochs: 1\n"
