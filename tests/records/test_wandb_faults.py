"""W&B under fault: the training ends with the same weights and one warning, whatever its server or folder does."""

import json
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT, compose, fresh, program, quick, timeless
from fake_wandb_server import wandb_server
from full_disk import fill, mounted, unmount

from trainer.records import wandb_connection
from trainer.records.outcome import read_outcome
from trainer.records.samples import samples
from trainer.run import train
from trainer.storage import checkpoint

SHORT = ("dataset=digits", "dataset.image_size=8", "model=mlp", "model.hidden=[8]", "epochs=2", "device=cpu")
KEY = {"WANDB_API_KEY": "0" * 40}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    return quick(*SHORT, f"output_dir={folder}").folder


def same(folder: Path, other: Path) -> bool:
    first, second = (checkpoint.load(each / "last.safetensors").trainer["model"] for each in (folder, other))
    return timeless(folder) == timeless(other) and all(torch.equal(first[key], second[key]) for key in first)


def test_a_server_that_crashes_the_client_leads_to_one_warning(in_empty_folder, undisturbed):
    """wandb's service dies during the run. Servers that hang, fail, die or come back: scripts/wandb_faults.py."""
    with wandb_server("answers nonsense") as (address, _):
        done = program(
            *SHORT,
            "wandb.mode=online",
            "output_dir=run",
            cwd=in_empty_folder,
            WANDB_BASE_URL=address,
            HOME=str(in_empty_folder),
            **KEY,
        )
    assert (done.returncode, "Traceback" in done.stdout + done.stderr) == (0, False), done.stderr
    (warning,) = [line for line in done.stderr.splitlines() if line.startswith("trainer: ")]
    # The error is noticed at the next message or at the end, depending on when the answer arrives.
    assert warning.startswith(
        ("trainer: warning: W&B gets no more of this run: ", "trainer: warning: W&B did not finish: ")
    )
    (kept,) = in_empty_folder.glob("run/wandb/run-*/run-*.wandb")
    assert warning.endswith(f": wandb sync {kept.parent}")
    assert same(in_empty_folder / "run", undisturbed)


def test_a_folder_that_wandb_cannot_use_leads_to_one_warning(in_empty_folder, undisturbed):
    done = program(*SHORT, "output_dir=run", cwd=in_empty_folder, WANDB_DATA_DIR="/dev/null/x")
    assert done.returncode == 0
    assert done.stderr.startswith("trainer: warning: W&B gets no more of this run: ")
    assert len(done.stderr.splitlines()) == 1
    assert same(in_empty_folder / "run", undisturbed)


@pytest.mark.parametrize("moment", ["before", "within"])
def test_a_full_disk_under_its_folder_leads_to_one_warning(moment, in_empty_folder, undisturbed, capfd):
    """wandb's service does not report that nothing more is written."""
    disk = quick(*SHORT, "epochs=1", "output_dir=run").folder / "wandb"
    if not mounted(disk):
        pytest.skip("only root may mount")
    try:
        if moment == "before":
            fill(disk)
        capfd.readouterr()
        train(compose(["resume=run", "epochs=2", "wandb.mode=offline"])[0], stop=lambda report: bool(fill(disk)))
    finally:
        unmount(disk)
    (warning,) = capfd.readouterr().err.splitlines()
    what = "records nothing" if moment == "before" else "gets no more"
    assert warning.startswith(f"trainer: warning: W&B {what} of this run: {in_empty_folder}/run/wandb")
    assert " cannot be written: No space left on device. The run's own folder has everything" in warning
    assert same(in_empty_folder / "run", undisturbed)


# Neither the package nor its metadata can be found.
HIDING = """
from importlib import metadata

find = metadata.Distribution.from_name.__func__


def from_name(cls, name):
    if name == "wandb":
        raise metadata.PackageNotFoundError(name)
    return find(cls, name)


metadata.Distribution.from_name = classmethod(from_name)
"""


def test_without_the_package_the_run_is_trained(in_empty_folder, undisturbed):
    (in_empty_folder / "hidden").mkdir()
    (in_empty_folder / "hidden" / "wandb.py").write_text("raise ImportError('No module named wandb')")
    (in_empty_folder / "hidden" / "sitecustomize.py").write_text(HIDING)
    path = f"{in_empty_folder / 'hidden'}:{ROOT}"
    done = fresh(*SHORT, "output_dir=run", cwd=in_empty_folder, PYTHONPATH=path)
    assert done.returncode == 0
    told = "W&B records nothing of this run: No module named wandb. The run's own folder has everything"
    assert done.stderr == f"trainer: warning: {told}\n"
    assert same(in_empty_folder / "run", undisturbed)
    (stamp,) = json.loads((in_empty_folder / "run" / "environment.json").read_text())
    assert "torch" in stamp["packages"] and "wandb" not in stamp["packages"]


def test_a_name_look_up_that_hangs_is_abandoned(monkeypatch):
    import wandb

    address = SimpleNamespace(settings=SimpleNamespace(base_url="http://wandb.invalid"))
    monkeypatch.setattr(wandb, "setup", lambda *_: address)
    monkeypatch.setattr(wandb, "login", lambda **_: True)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(9))
    monkeypatch.setattr(wandb_connection, "CONNECT_SECONDS", 0.2)
    started = time.monotonic()
    assert wandb_connection.why_not_online() == "wandb.invalid:80 cannot be reached (no answer for 0.2 seconds)"
    assert time.monotonic() - started < 5


def test_a_missing_file_leads_to_a_warning_and_no_tables(monkeypatch, capsys):
    def gone(trainer, folder):
        (folder / "best.json").unlink()
        return samples(trainer, folder)

    monkeypatch.setattr("trainer.run.samples", gone)
    quick(*SHORT, "output_dir=run", "wandb.mode=offline")
    told = "W&B gets no samples of this run: run/best.json: No such file or directory"
    assert capsys.readouterr().err == f"trainer: warning: {told}\n"
    assert read_outcome(Path("run")).state == "finished"
