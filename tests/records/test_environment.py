"""The recorded environment: the commit is that of the trainer, whatever variables the process has inherited."""

import subprocess
from pathlib import Path

import pytest

import trainer
from trainer.records.environment import git_state, uncommitted_changes


def git(folder, *arguments):
    command = ["git", "-c", "user.email=a@b", "-c", "user.name=n", "-C", folder, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(monkeypatch):
    """A checkout of the trainer, and another repository."""
    for name in ("own", "other"):
        Path(name, "trainer").mkdir(parents=True)
        git(name, "init", "-q")
        git(name, "commit", "-q", "--allow-empty", "-m", name)
    monkeypatch.setattr(trainer, "__file__", str(Path("own/trainer/__init__.py").resolve()))


def test_the_variables_of_a_hook_do_not_lead_to_another_repository(checkout, monkeypatch):
    other = Path("other/.git").resolve()
    own = git("own", "rev-parse", "HEAD")
    assert own != git("other", "rev-parse", "HEAD")
    assert git_state() == {"commit": own, "dirty": False}
    places = {"GIT_DIR": other, "GIT_WORK_TREE": other.parent, "GIT_INDEX_FILE": other / "index"}
    for name, place in {**places, "GIT_OBJECT_DIRECTORY": other / "objects", "GIT_COMMON_DIR": other}.items():
        monkeypatch.setenv(name, str(place))
        assert git_state() == {"commit": own, "dirty": False}


def test_what_is_in_no_commit_is_kept_as_a_patch(checkout):
    uncommitted_changes.cache_clear()
    file = Path("own/trainer/step.py")
    file.write_text("rate = 1\n")
    git("own", "add", ".")
    git("own", "commit", "-q", "-m", "step")
    assert uncommitted_changes() == ""
    uncommitted_changes.cache_clear()
    file.write_text("rate = 2\n")
    patch = uncommitted_changes()
    uncommitted_changes.cache_clear()
    assert patch.endswith("\n") and "\n-rate = 1\n+rate = 2\n" in patch
    Path("patch").write_text(patch)
    git("own", "checkout", "-q", ".")
    git("own", "apply", str(Path("patch").resolve()))
    assert file.read_text() == "rate = 2\n"


def test_a_changed_file_whose_name_is_not_utf_8_counts_as_changed(checkout):
    git("own", "config", "core.quotePath", "false")
    Path("own/caf\udce9").touch()
    assert git_state() == {"commit": git("own", "rev-parse", "HEAD"), "dirty": True}
