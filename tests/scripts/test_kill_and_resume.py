"""The short form of scripts/kill_and_resume.py: a run that is killed in each of its three ways."""

import subprocess
import sys

import pytest
from conftest import QUICK, ROOT, clean_environment

TINY = ("model=mlp", "model.hidden=[16]", "dropout=0.2", "augmentation=crop", "regularization=ema", "epochs=9")


@pytest.mark.long
def test_a_run_that_is_killed_at_any_moment_ends_as_an_undisturbed_one(in_empty_folder):
    command = [
        sys.executable,
        ROOT / "scripts" / "kill_and_resume.py",
        "--kills",
        "3",
        *QUICK,
        *TINY,
        "checkpoint_minutes=0.002",
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=clean_environment(), timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "kill 3 (metrics): 1 runs begun" in done.stdout
    assert done.stdout.endswith("exit code 0, 0 wrong, left over: []\n0 differences or unreadable files in all\n")
