"""What is said in a terminal is broken between words; in a file it is one line, and what is copied is never broken."""

import io
import subprocess

import pytest

from trainer import console
from trainer.errors import RunError, fitted

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


def test_a_line_is_broken_between_words_and_a_command_can_be_pasted():
    assert fitted("lr=0.1 is too high", 18) == "lr=0.1 is too high"
    assert fitted("lr=0.1 is too high", 17) == "lr=0.1 is too\nhigh"
    assert fitted("Folder: outputs/a-folder-with-a-name", 20) == "Folder:\noutputs/a-folder-with-a-name"
    command = "python -m trainer resume=outputs/run 'model.hidden=[9, 9]' epochs=4"
    told = fitted(f"Stopped. Saved: 1 of 2 epochs. To go on: {command}", 41)
    assert told == (
        "Stopped. Saved: 1 of 2 epochs. To go on:\npython -m trainer resume=outputs/run \\\n"
        "  'model.hidden=[9, 9]' epochs=4"
    )
    pasted = subprocess.run(
        ["bash"], input=f"echo {told.partition(chr(10))[2]}", check=True, capture_output=True, text=True
    )
    assert pasted.stdout == "python -m trainer resume=outputs/run model.hidden=[9, 9] epochs=4\n"
    # What the shell could not read is text, and loses no letter; of two commands only the last one ends the line.
    assert fitted("See python -m trainer.doctor outputs/student's run", 40) == (
        "See python -m trainer.doctor\noutputs/student's run"
    )
    assert fitted("It needs pip install 'a[b]'. From a checkout: pip install -e '.[b]'", 30) == (
        "It needs pip install 'a[b]'.\nFrom a checkout:\npip install -e '.[b]'"
    )
    assert fitted(r"as in: python -m trainer output_dir=a\ run\'s", 36) == (
        "as in:\npython -m trainer \\\n  output_dir=a\\ run\\'s"
    )
    assert fitted("one\n" + "two " * 8, 20) == "one\ntwo two two two two\ntwo two two"


def test_a_terminal_shows_it_broken(screen):
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
