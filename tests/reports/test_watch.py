"""`report --watch`: the page of a study that another process trains."""

import json
import shutil
import threading

import pytest
from fake_studies import fake_study

from trainer.cli.report import main
from trainer.errors import ConfigError
from trainer.reports import watch as watching
from trainer.reports.content import of_study
from trainer.reports.progress import progress_of
from trainer.reports.watch import watch
from trainer.runtime.lock import locked
from trainer.storage.untrusted import read_json
from trainer.study.manifest import Manifest

REFRESH = '<meta http-equiv="refresh"'


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A study of two runs of ten epochs, of which the first has ended and the second has come to epoch four."""
    monkeypatch.setattr(watching, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(watching, "REST", 0.0)
    folder = fake_study(tmp_path / "made", {"lr": ["0.1", "0.01"]})
    shutil.copytree(folder, tmp_path / "whole")
    (folder / "run-1" / "result.json").unlink()
    path = folder / "run-1" / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:4]))
    return folder


def test_the_progress_names_what_is_trained_and_the_time_left(begun):
    with locked(begun / "run-1"):
        progress = progress_of(Manifest.read(begun), of_study(begun))
    assert progress.rows == [("lr=0.01 seed=0", "4 of 10", "9.0 s")]  # six epochs of 1.5 s
    assert progress.sentence == "1 of 2 runs ended; at most 9.0 s left" and not progress.complete
    manifest = read_json(begun / "study.json")
    manifest["sweep"] |= {"method": "random", "trials": 5}
    manifest["runs"][1]["trial"] = 1
    (begun / "study.json").write_text(json.dumps({**manifest, "points": 5}))
    # Three points are not drawn yet, of ten epochs each; nothing is trained at this moment.
    assert progress_of(Manifest.read(begun), of_study(begun)).sentence == "1 of 5 runs ended; at most 54.0 s left"


def test_the_page_follows_a_study_until_it_ends(begun, capsys):
    pages = []

    def train():  # the second run, to its end, after the first page
        while not (begun / "report.html").is_file():
            pass
        pages.append((begun / "report.html").read_text())
        for name in ("metrics.jsonl", "result.json"):
            shutil.copy(begun.parent / "whole" / "run-1" / name, begun / "run-1" / name)

    with locked(begun / "run-1"):
        other = threading.Thread(target=train)
        other.start()
        assert main([str(begun), "--watch", "--baseline", "lr=0.1"]) == 0
        other.join()
    assert REFRESH in pages[0] and "1 of 2 runs ended" in pages[0] and "4 of 10" in pages[0]
    last = (begun / "report.html").read_text()
    assert REFRESH not in last and 'id="progress"' not in last and "Differences to lr=0.1" in last
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f"Watching: {begun / 'report.html'}") and printed[-1].startswith("Report: ")


def test_it_ends_by_ctrl_c_or_when_nobody_trains_and_changes_nothing_of_the_study(begun, monkeypatch):
    files = {path: path.read_bytes() for path in begun.rglob("*") if path.is_file()}

    def stop(_):
        assert REFRESH in (begun / "report.html").read_text()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch(begun, None, stop)
    assert REFRESH not in (begun / "report.html").read_text()
    monkeypatch.setattr(watching, "IDLE_SECONDS", 0.0)
    seen = []
    assert watch(begun, None, seen.append) is False and len(seen) == 1
    (begun / "report.html").unlink()
    assert files == {path: path.read_bytes() for path in begun.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=r"^--baseline=lr=5: the study has no such arm"):
        main([str(begun), "--watch", "--baseline", "lr=5"])
    (begun / "study.json").unlink()
    with pytest.raises(ConfigError, match=r"^--watch: .* is no study; a run is watched on its own terminal$"):
        main([str(begun), "--watch"])
