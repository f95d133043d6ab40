"""The short form of scripts/chaos.py: a run and a study, killed in each of its three ways."""

import subprocess
import sys

from conftest import ROOT, clean_environment


def test_killed_runs_and_studies_end_as_undisturbed_ones(in_empty_folder):
    command = [sys.executable, ROOT / "scripts" / "chaos.py", "--kills", "4", "--seed", "1"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=clean_environment(), timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("kill 2 (checkpoint): ") == 2
    assert done.stdout.endswith("0 differences or unreadable files in all\n")
