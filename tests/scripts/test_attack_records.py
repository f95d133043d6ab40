"""The short form of scripts/attack_records.py: a few flipped bytes, and a few writes that fail."""

import shutil
import subprocess
import sys

import pytest
from conftest import ROOT, clean_environment


def attacked(folder, *arguments):
    command = [sys.executable, ROOT / "scripts" / "attack_records.py", *arguments]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=clean_environment(), cwd=folder, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_flipped_byte_of_a_record_is_told_by_all_that_reads_it(in_empty_folder):
    (line,) = attacked(in_empty_folder, "--flips=2", "--errors=0", "--only=result.json")
    assert line.startswith("result.json: 2 told (")


@pytest.mark.long
@pytest.mark.skipif(not (shutil.which("cc") or shutil.which("gcc")), reason="there is no C compiler")
def test_a_run_of_which_a_write_fails_continues_like_an_undisturbed_one(in_empty_folder):
    (line,) = attacked(in_empty_folder, "--flips=0", "--errors=4")
    assert line.startswith("writes that fail: ") and line.endswith("like an undisturbed run; 0 wrong")
