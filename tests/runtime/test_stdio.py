"""Standard output and error: full disks, closed streams, pipes that do not wait, encodings that lack characters."""

import contextlib
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import QUICK, TINY, clean_environment
from full_disk import on_a_full_disk

from trainer.cli.main import main
from trainer.errors import RunError
from trainer.records.outcome import read_outcome
from trainer.runtime import console, stdio
from trainer.runtime.files import write_text
from trainer.runtime.text import undecoded


@contextlib.contextmanager
def standard_output(encoding, errors="strict", place="shown.txt"):
    """Let standard output be a file with this encoding, whose path is yielded."""
    with pytest.MonkeyPatch.context() as patch, Path(place).open("w", encoding=encoding, errors=errors) as file:
        patch.setattr(stdio, "_output", [])
        for name in ("stdout", "__stdout__"):
            patch.setattr(sys, name, file)
        yield Path(place)
        sys.stdout.flush()


def test_output_that_cannot_be_written_is_dropped_and_not_tried_again(capsys):
    for place, code in (("/dev/full", 1), ("log.txt", 0)):
        with standard_output("utf-8", place=place):
            stdio.protect_streams()
            console.say("said")
            print("printed")
            assert stdio.stdout_exit_code() == code
    assert capsys.readouterr() == ("", "trainer: standard output could not be written: No space left on device\n")
    assert Path("log.txt").read_text() == "said\nprinted\n"


def test_a_run_without_output_is_trained_and_a_command_whose_output_is_lost_fails(in_empty_folder):
    assert on_a_full_disk(*QUICK, *TINY, "output_dir=run", cwd=in_empty_folder) == 0
    assert read_outcome(Path("run")).state == "finished"
    assert on_a_full_disk("--cfg", "job", cwd=in_empty_folder) == 1
    assert on_a_full_disk("lr=high", cwd=in_empty_folder) == 2


@pytest.mark.parametrize(
    ("text", "shown"),
    {
        "1×8×8 — 97 % ± 0.2 … ≤ 5": "1x8x8 - 97 % +- 0.2 ... <= 5",
        "true ↓ predicted →": "true v predicted ->",
        "−3 · λ·Σ β₂ σ² Δ": "-3 . lambda.Sigma beta2 sigma2 Delta",
        "café Št̂ 日 \udce9": "cafe St ? ?",
    }.items(),
)
def test_a_character_without_an_encoding_gets_a_stand_in(text, shown):
    assert text.encode("ascii", stdio.STAND_IN) == shown.encode()
    assert "é × —".encode("latin-1", stdio.STAND_IN) == b"\xe9 \xd7 -"  # what an encoding holds stays


def test_every_command_prints_on_a_terminal_for_ascii():
    with standard_output("ascii") as shown:
        assert main([*QUICK, *TINY, "output_dir=run"]) == 0
        assert main(["-m", *QUICK, *TINY, "seed=0,1"]) == 0
        (study,) = Path("outputs/sweeps").glob("*")
        for arguments in (
            ["--help"],
            ["evaluate", "run"],
            ["evaluate", "--ledger"],
            ["report", "run"],
            ["report", str(study)],
            ["doctor", "run"],
            ["doctor", "run", "--json"],
            ["reproduce", "run"],
            ["find-lr", "dataset=digits", *TINY, "epochs=2"],
        ):
            assert main(arguments) == 0, arguments
    text = shown.read_bytes().decode("ascii")
    for part in ("300 validation images 1x8x8", "true v predicted ->", "lambda in the optimizer", "cross-fitted +- sd"):
        assert part in text


def test_the_choice_of_the_user_for_such_characters_stays():
    with standard_output("ascii", "xmlcharrefreplace") as shown:
        stdio.protect_streams()
        print("×")
    assert shown.read_text() == "&#215;\n"


@pytest.mark.long
@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_hinder_a_run_and_get_nothing_of_its_files(closed, in_empty_folder):
    def started(*arguments):
        command = ["bash", "-c", f'exec "$0" "$@" {closed}', sys.executable, "-m", "trainer", *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True, env=clean_environment()).returncode

    assert started(*QUICK, *TINY, "output_dir=run", "wandb.mode=offline") == 0
    assert read_outcome(Path("run")).state == "finished"
    assert started(*QUICK, "optimizer=adm") == 2


def test_the_number_of_a_closed_stream_is_given_to_no_file():
    code = "from trainer.runtime.stdio import protect_streams as p; p(); import os, sys; f = open('f', 'w')"
    code += "; os.system('echo of a child >&2'); sys.exit(f.fileno())"
    command = ["bash", "-c", 'exec "$0" -c "$1" 2>&- <&-', sys.executable, code]
    done = subprocess.run(command, check=False, capture_output=True, env=clean_environment())
    assert done.returncode == 3 and Path("f").read_bytes() == b""


def test_a_pipe_that_does_not_wait_gets_everything():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    received = []
    with io.FileIO(reading) as pipe:
        reader = threading.Thread(target=lambda: received.append(pipe.readall()))
        with stdio.append_log(writing) as stream:
            reader.start()
            stream.write("x" * 1_000_000)
        reader.join()
    assert received == [b"x" * 1_000_000]


def test_a_name_that_the_locale_cannot_read_is_told_as_that(capsys):
    name = "caf\udce9"
    reason = "caf?: this name cannot be read in the locale's encoding, utf-8. Rename it in UTF-8"
    assert undecoded(f"data_dir=x/{name}/y") == reason and undecoded("café 日") is None
    long = "a" * 3_000_000  # as in a report: a pattern that takes the square of its length would not end
    assert undecoded(long) is None and undecoded(f"{long} {name}") == reason
    for arguments in ([f"output_dir={name}"], ["evaluate", name], ["evaluate", "run", "--why", name], ["report", name]):
        assert main(arguments) == 2
        assert capsys.readouterr().err.endswith(f"{reason.partition('caf')[2]}\n")
    with pytest.raises(RunError) as caught:
        write_text(Path("study.json"), f'{{"data_dir": "/home/{name}/data"}}')
    assert str(caught.value) == f"study.json could not be written: {reason}" and not Path("study.json").exists()


@pytest.mark.long
def test_a_class_whose_name_the_locale_cannot_read():
    for each in ("café", "b"):
        Path("data/train", each).mkdir(parents=True)
    environment = clean_environment(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    command = [sys.executable, "-m", "trainer", "dataset=image_folder", "data_dir=data"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (
        2,
        "trainer: data/train/caf??: this name cannot be read in the locale's encoding, ascii. Set LC_ALL=C.UTF-8\n",
    )
