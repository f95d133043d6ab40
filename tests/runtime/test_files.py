"""Files that are replaced as a whole."""

import os
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
