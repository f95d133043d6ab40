"""Messages are wrapped on a terminal and one line each in a file; paths and commands are never broken."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import QUICK, TINY, clean_environment, prefork_server

from trainer.errors import RunError
from trainer.records.outcome import read_outcome
from trainer.runtime import console, stdio
from trainer.runtime.text import counted, wrap

LONG = "it began in 1.1 (Linear), whose weights step 2 changed by 7.5 times their own size. Try lr=0.03"


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def screen(monkeypatch):
    """A terminal of 40 columns in place of both consoles' streams."""
    shown = Screen()
    for each in (console.out, console.err):
        monkeypatch.setattr(each, "_file", shown)
        monkeypatch.setattr(each, "_width", 40)
    return shown


def test_a_line_is_wrapped_between_words_and_a_command_can_be_pasted():
    assert wrap("lr=0.1 is too high", 18) == "lr=0.1 is too high"
    assert wrap("lr=0.1 is too high", 17) == "lr=0.1 is too\nhigh"
    assert wrap("Folder: outputs/a-folder-with-a-name", 20) == "Folder:\noutputs/a-folder-with-a-name"
    command = "python -m trainer resume=outputs/run 'model.hidden=[9, 9]' epochs=4"
    wrapped = wrap(f"Stopped. Saved: 1 of 2 epochs. To continue: {command}", 43)
    assert wrapped == (
        "Stopped. Saved: 1 of 2 epochs. To continue:\npython -m trainer resume=outputs/run \\\n"
        "  'model.hidden=[9, 9]' epochs=4"
    )
    pasted = subprocess.run(
        ["bash"], input=f"echo {wrapped.partition(chr(10))[2]}", check=True, capture_output=True, text=True
    )
    assert pasted.stdout == "python -m trainer resume=outputs/run model.hidden=[9, 9] epochs=4\n"
    # A command that the shell could not read is text; of two commands the first one is text.
    assert wrap("See python -m trainer doctor outputs/student's run", 40) == (
        "See python -m trainer doctor\noutputs/student's run"
    )
    assert wrap("It needs pip install 'a[b]'. From a checkout: pip install -e '.[b]'", 30) == (
        "It needs pip install 'a[b]'.\nFrom a checkout:\npip install -e '.[b]'"
    )
    assert wrap(r"as in: python -m trainer output_dir=a\ run\'s", 36) == (
        "as in:\npython -m trainer \\\n  output_dir=a\\ run\\'s"
    )
    assert wrap("one\n" + "two " * 8, 20) == "one\ntwo two two two two\ntwo two two"


def test_a_terminal_shows_wrapped_messages(screen):
    console.say(LONG)
    console.fail(RunError(LONG))
    console.warn(LONG)
    console.closing_table([("Diagnosis", "too high: of epoch 1 of 4"), ("To try", "python -m trainer lr=0.03")])
    assert screen.getvalue().splitlines() == [
        "it began in 1.1 (Linear), whose weights",
        "step 2 changed by 7.5 times their own",
        "size. Try lr=0.03",
        "trainer: it began in 1.1 (Linear), whose",
        "weights step 2 changed by 7.5 times",
        "their own size. Try lr=0.03",
        "trainer: warning: it began in 1.1",
        "(Linear), whose weights step 2 changed",
        "by 7.5 times their own size. Try lr=0.03",
        "  Diagnosis            too high: of",
        "                       epoch 1 of 4",
        "  To try               python -m \\",
        "                         trainer \\",
        "                         lr=0.03",
    ]


def test_a_file_gets_one_line(capsys):
    console.say(LONG)
    console.fail(RunError(LONG * 3))
    console.closing_table([("Diagnosis", LONG * 3)])
    printed = capsys.readouterr()
    assert printed.out == f"{LONG}\n  Diagnosis            {LONG * 3}\n"
    assert printed.err == f"trainer: {LONG * 3}\n"


def test_output_that_cannot_be_written_is_dropped_and_not_tried_again(monkeypatch, capsys):
    for place, code in (("/dev/full", 1), ("log.txt", 0)):
        with monkeypatch.context() as patch, Path(place).open("w", encoding="utf-8") as file:
            patch.setattr(stdio, "_output", [])
            for name in ("stdout", "__stdout__"):
                patch.setattr(sys, name, file)
            stdio.ignore_write_errors()
            console.say("said")
            print("printed")
            assert stdio.stdout_exit_code() == code
    assert capsys.readouterr() == ("", "trainer: standard output could not be written: No space left on device\n")
    assert Path("log.txt").read_text() == "said\nprinted\n"


def on_a_full_disk(*arguments, cwd):
    """Return the exit code of the program when its output goes to a full disk."""
    job = {"module": "trainer", "arguments": arguments, "folder": str(cwd), "environment": clean_environment()}
    server = prefork_server()
    server.stdin.write(json.dumps(job | {"stdout": "/dev/full", "stderr": "/dev/full"}) + "\n")
    server.stdin.flush()
    return int(server.stdout.readline())


def test_a_run_without_output_is_trained_and_a_command_whose_output_is_lost_fails(in_empty_folder):
    assert on_a_full_disk(*QUICK, *TINY, "output_dir=run", cwd=in_empty_folder) == 0
    assert read_outcome(Path("run")).state == "finished"
    assert on_a_full_disk("--cfg", "job", cwd=in_empty_folder) == 1
    assert on_a_full_disk("lr=high", cwd=in_empty_folder) == 2


def test_a_number_has_its_noun_in_the_singular_or_plural():
    assert [counted(number, "study", "studies") for number in (0, 1, 2)] == ["0 studies", "1 study", "2 studies"]
