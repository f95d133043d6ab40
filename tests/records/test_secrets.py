"""No environment variable reaches a file: every written file is searched for a marker set in one."""

from pathlib import Path

import pytest
from conftest import interpret, program
from fake_wandb_server import wandb_server

from trainer.errors import ConfigError

MARK = "mArkEr0451" * 4  # as long as a key of W&B
NAMES = "AWS_SECRET_ACCESS_KEY HF_TOKEN GITHUB_TOKEN MY_PASSWORD DATABASE_URL SSH_AUTH_SOCK WANDB_API_KEY"
SECRETS = dict.fromkeys(NAMES.split(), MARK) | {"https_proxy": f"http://user:{MARK}@127.0.0.1:9"}
SHORT = ("dataset=digits", "dataset.image_size=8", "model=mlp", "model.hidden=[8]", "epochs=1", "device=cpu")


def holding(folder: Path) -> list[str]:
    """Return the files that contain the marker; no format here compresses its texts."""
    assert sum(path.is_file() for path in folder.rglob("*")) > 5
    return [str(path) for path in folder.rglob("*") if path.is_file() and MARK.encode() in path.read_bytes()]


def test_no_file_of_a_run_nor_its_output_holds_a_secret(in_empty_folder):
    address = {"WANDB_BASE_URL": f"http://user:{MARK}@127.0.0.1:9"}
    done = program(*SHORT, "output_dir=run", "wandb.mode=online", cwd=in_empty_folder, **SECRETS, **address)
    assert done.returncode == 0 and "127.0.0.1:9 cannot be reached" in done.stderr
    assert MARK not in done.stdout + done.stderr
    assert list(in_empty_folder.glob("run/wandb/offline-run-*/run-*.wandb"))
    assert holding(in_empty_folder) == []


def test_no_file_of_a_study_that_fails_holds_a_secret(in_empty_folder):
    done = program("-m", *SHORT, "lr=0.01,1e30", "wandb.mode=offline", cwd=in_empty_folder, **SECRETS)
    assert done.returncode == 1 and MARK not in done.stdout + done.stderr
    assert len(list(in_empty_folder.glob("outputs/sweeps/*/*/log.txt"))) == 2
    assert holding(in_empty_folder) == []


def test_the_server_receives_the_metrics_and_nothing_about_the_machine(in_empty_folder):
    with wandb_server() as (address, server):
        secrets = {**SECRETS, "WANDB_BASE_URL": address, "https_proxy": ""}
        done = program(*SHORT, "output_dir=run", "wandb.mode=online", cwd=in_empty_folder, **secrets)
    assert (done.returncode, done.stderr) == (0, "")
    (run,) = server.runs.values()
    told = str(run)
    assert MARK not in told and str(in_empty_folder) not in told and "train_loss" in told
    assert holding(in_empty_folder) == []
    (record,) = in_empty_folder.glob("run/wandb/run-*/run-*.wandb")
    content = record.read_bytes()
    for word in (b"trainer.__main__", b"/bin/python", str(in_empty_folder).encode()):  # command, interpreter, place
        assert word not in content
    files = {path.name for path in in_empty_folder.glob("run/wandb/run-*/files/*")}
    assert files <= {"config.yaml", "media", "wandb-summary.json"}  # neither wandb-metadata.json nor requirements.txt


@pytest.mark.parametrize(
    "text", ["wandb.notes=${oc.env:MARKER}", "data_dir=x/${oc.env:MARKER,none}", "lr=${oc.env:MARKER}"]
)
def test_the_environment_is_not_composed_into_a_run(text, monkeypatch):
    monkeypatch.setenv("MARKER", MARK)
    for arguments in ([text], ["-m", "seed=0,1", text]):
        with pytest.raises(ConfigError) as caught:
            interpret([*SHORT, *arguments])
        assert str(caught.value).endswith(
            ': the environment is not read into a run\'s record. Let the shell fill it in: key="$MARKER"'
        )
