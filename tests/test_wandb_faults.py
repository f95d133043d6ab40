"""W&B under fault: the training ends with the same weights and one warning, whatever its server or folder does."""

from pathlib import Path

import pytest
import torch
from conftest import ROOT, fresh, program, quick, timeless
from loopback import wandb_server

from trainer import checkpoint

SHORT = ("dataset=digits", "dataset.image_size=8", "model=mlp", "model.hidden=[8]", "epochs=2", "device=cpu")
KEY = {"WANDB_API_KEY": "0" * 40}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    return quick(*SHORT, f"output_dir={folder}").folder


def same(folder: Path, other: Path) -> bool:
    first, second = (checkpoint.load(each / "last.pt")["trainer"]["model"] for each in (folder, other))
    return timeless(folder) == timeless(other) and all(torch.equal(first[key], second[key]) for key in first)


def test_a_server_whose_answers_kill_the_client_costs_warnings(in_empty_folder, undisturbed):
    """Its service dies in the midst of the run. Servers that hang, fail or die: scripts/wandb_faults.py."""
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
    warnings = [line for line in done.stderr.splitlines() if line.startswith("trainer: ")]
    assert warnings[0].startswith("trainer: warning: W&B gets no more of this run: ") and len(warnings) == 2
    assert len(list(in_empty_folder.glob("run/wandb/run-*/run-*.wandb"))) == 1  # to be uploaded later
    assert same(in_empty_folder / "run", undisturbed)


def test_a_folder_that_wandb_cannot_use_costs_a_warning(in_empty_folder, undisturbed):
    done = program(*SHORT, "output_dir=run", cwd=in_empty_folder, WANDB_DATA_DIR="/dev/null/x")
    assert done.returncode == 0
    assert done.stderr.startswith("trainer: warning: W&B gets no more of this run: ")
    assert len(done.stderr.splitlines()) == 1
    assert same(in_empty_folder / "run", undisturbed)


def test_without_the_package_the_run_is_trained(in_empty_folder, undisturbed):
    (in_empty_folder / "hidden").mkdir()
    (in_empty_folder / "hidden" / "wandb.py").write_text("raise ImportError('No module named wandb')")
    path = f"{in_empty_folder / 'hidden'}:{ROOT}"
    done = fresh(*SHORT, "output_dir=run", cwd=in_empty_folder, PYTHONPATH=path)
    assert done.returncode == 0
    told = "W&B records nothing of this run: No module named wandb. The run's own folder has everything"
    assert done.stderr == f"trainer: warning: {told}\n"
    assert same(in_empty_folder / "run", undisturbed)
