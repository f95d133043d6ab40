"""The content of W&B runs, read back from the real client's files; runs without a server or a key."""

import json
import math
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import TINY, compose, metrics, program, quick
from fake_wandb_server import wandb_server
from wandb_files import HOST, assert_no_place, offline_run

from trainer.config.schema import PACKAGE
from trainer.records.code import code_files
from trainer.records.wandb_content import parameter_histograms
from trainer.records.wandb_replay import mirror_records

OFFLINE = "wandb.mode=offline"


def inspected(folder: Path) -> dict:
    """Return the offline run as W&B's own tool reads it, which exits with the exit code of that run."""
    (run,) = (folder / "wandb").glob("offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(run)]
    return json.loads(subprocess.run(command, check=False, capture_output=True, text=True).stdout)


def test_the_offline_run_holds_names_config_and_metrics():
    names = ["wandb.project=p", "wandb.group=g", "wandb.name=n", "wandb.tags=[one,mlp]", "wandb.notes='some notes'"]
    result = quick(OFFLINE, *TINY, "output_dir=run", "optimizer=rmsprop", "wandb.arm=a", *names)
    seen = inspected(result.folder)
    assert (seen["project"], seen["name"], seen["notes"]) == ("p", "n", "some notes")
    assert seen["tags"] == ["one", "mlp", "digits"]
    assert (seen["exit_code"], seen["state"], seen["step"]) == (0, "finished", 2)
    assert seen["config"]["optimizer"]["alpha"] == 0.99
    assert (seen["config"]["batch_size"], seen["config"]["arm"], seen["config"]["seed"]) == (64, "a", 0)
    assert not {"wandb", "data_dir", "output_dir", "resume", "checkpoint_minutes"} & seen["config"].keys()
    rows, told = metrics(result.folder), offline_run(result.folder)
    for key, best in {
        "train_loss": min,
        "train_accuracy": max,
        "validation_loss": min,
        "validation_accuracy": max,
    }.items():
        values = [row[key] for row in rows]
        kept = {best.__name__: best(values), "last": values[-1]}
        assert seen["summary"][key] == {name: pytest.approx(value) for name, value in kept.items()}
        assert told.metrics[key].step_metric == "epoch"
    assert told.metrics["*"].step_metric == "epoch" and told.metrics["epoch"].options.hidden
    for key in ("lr", "epoch"):
        assert seen["summary"][key] == pytest.approx(rows[-1][key]), key
    assert seen["summary"]["best_epoch"] == result.best_epoch
    assert seen["summary"]["train_eval_accuracy"] == result.train_eval_accuracy
    assert [row["epoch"] for row in told.rows] == [1, 2]
    assert not {"improved", "skipped_steps"} & {key for row in told.rows for key in row}
    assert told.run.job_type == "train"


def test_a_failed_run_has_exit_code_1(in_empty_folder):
    from trainer.errors import RunError

    with pytest.raises(RunError):
        quick(OFFLINE, *TINY, "output_dir=run", "lr=1e30")
    assert inspected(Path("run"))["exit_code"] == 1


def test_wandb_changes_no_result():
    with_it, without = quick(OFFLINE, *TINY, "output_dir=a"), quick(*TINY, "output_dir=b")
    assert with_it.best_validation_loss == without.best_validation_loss
    assert not (without.folder / "wandb").exists()


@pytest.mark.long
def test_online_without_a_key_goes_offline_with_one_warning(in_empty_folder):
    done = program(
        "dataset=digits",
        *TINY,
        "epochs=1",
        "output_dir=run",
        "wandb.mode=online",
        cwd=in_empty_folder,
        HOME=str(in_empty_folder),
    )
    assert done.returncode == 0
    assert done.stderr == (
        "trainer: warning: W&B is recorded offline instead: no API key is configured (wandb login)."
        " Upload it later: wandb sync run/wandb/offline-run-*\n"
    )
    assert inspected(in_empty_folder / "run")["exit_code"] == 0


@pytest.mark.long
def test_online_without_a_server_goes_offline_with_one_warning(in_empty_folder):
    started = time.monotonic()
    done = program(
        "dataset=digits",
        *TINY,
        "epochs=1",
        "output_dir=run",
        "wandb.mode=online",
        cwd=in_empty_folder,
        WANDB_API_KEY="0" * 40,
        WANDB_BASE_URL="http://127.0.0.1:9",
        HOME=str(in_empty_folder),
    )
    assert time.monotonic() - started < 60  # left alone, the client waits for 100 seconds
    assert done.returncode == 0
    assert done.stderr == (
        "trainer: warning: W&B is recorded offline instead: 127.0.0.1:9 cannot be reached (Connection refused)."
        " Upload it later: wandb sync run/wandb/offline-run-*\n"
    )
    assert inspected(in_empty_folder / "run")["exit_code"] == 0


def test_online_everything_arrives_at_the_server(in_empty_folder):
    with wandb_server() as (address, server):
        done = program(
            "dataset=digits",
            *TINY,
            "epochs=3",
            "output_dir=run",
            "wandb.mode=online",
            "wandb.project=p",
            "wandb.group=g",
            "wandb.tags=[one,two]",
            cwd=in_empty_folder,
            WANDB_API_KEY="0" * 40,
            WANDB_BASE_URL=address,
            HOME=str(in_empty_folder),
        )
    assert (done.returncode, done.stderr) == (0, "")
    ((name, run),) = server.runs.items()
    (stamp,) = json.loads((in_empty_folder / "run" / "environment.json").read_text())
    assert name == stamp["run_id"]
    assert (run["project"], run["groupName"], run["displayName"], run["tags"]) == (
        "p",
        "g",
        "run",
        ["one", "two", "digits", "mlp"],
    )
    assert json.loads(run["config"])["optimizer"]["value"]["betas"] == [0.9, 0.999]
    assert run["exit"] == 0
    assert server.artifacts == []  # samples and confusion matrix are files of the run
    told = [row["validation_accuracy"] for row in run["history"] if "validation_accuracy" in row]
    assert told == [row["validation_accuracy"] for row in metrics(in_empty_folder / "run")]
    assert run["jobType"] == "train" and "host" not in run
    assert_no_place(in_empty_folder / "run" / "wandb")


def test_samples_confusion_checkpoint_and_code_are_in_the_offline_run_and_no_place_of_the_machine(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    result = quick(OFFLINE, *TINY, "output_dir=run", "wandb.log_model=true", "wandb.log_code=true")
    told = offline_run(result.folder)
    counts = {(true, predicted): count for true, predicted, count in table_of(told.files, "confusion")["data"]}
    best = json.loads((result.folder / "best.json").read_text())
    assert len(counts) == 100 and counts["3", "3"] == best["confusion"][3][3]
    right = sum(count for (true, predicted), count in counts.items() if true == predicted)
    assert right == round(result.best_validation_accuracy * result.validation_images)
    last, samples = told.rows[-1], told.rows[-1]["samples"]
    assert samples["count"] == len(samples["captions"]) == 16 and last["confusion"]["nrows"] == 100
    assert re.fullmatch(r"\d, predicted \d \(\d+ %\)", samples["captions"][0])
    assert all((told.files / name).read_bytes().startswith(b"\x89PNG") for name in samples["filenames"])
    weights, code = told.artifacts
    assert (weights.type, [entry.local_path for entry in weights.manifest.contents]) == (
        "model",
        ["run/best.safetensors"],
    )
    assert (code.name, code.type) == ("trainer-code", "code")
    assert sorted(entry.path for entry in code.manifest.contents) == sorted(
        code_files(compose(["dataset=digits", *TINY])[0])
    )
    copies = {entry.path: Path(entry.local_path) for entry in code.manifest.contents}
    assert {"techniques/optimizer.py", "techniques/hooks.py", "training/trainer.py"} < copies.keys()
    assert all(copy.read_bytes() == (PACKAGE / name).read_bytes() for name, copy in copies.items())
    assert_no_place(result.folder / "wandb", tmp_path)


def test_a_finished_run_is_written_to_another_group_once(capsys, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    result = quick(*TINY, "output_dir=run", "layer_stats_every=2")
    ended = {"state": "finished", "best_epoch": result.best_epoch, "validation_accuracy": 0.5}
    (result.folder / "result.json").write_text(json.dumps(ended))
    typed = ["dataset=digits", *TINY, "wandb.group=g", "wandb.arm=a", "wandb.name=n", "wandb.tags=[t]"]
    (off,) = compose([*typed, "wandb.mode=disabled"])
    (config,) = compose([*typed, OFFLINE])
    mirror_records([(result.folder, off)])
    assert not (result.folder / "wandb").exists()
    capsys.readouterr()
    for _ in range(2):
        mirror_records([(result.folder, config)])
    assert capsys.readouterr() == ("Recording 1 reused run for W&B\n", "")
    told, rows = offline_run(result.folder), metrics(result.folder)
    assert (told.run.run_group, told.run.display_name, told.run.job_type) == ("g", "n", "train")
    assert list(told.run.tags) == ["t", "digits", "mlp"]
    assert (told.config["arm"], told.config["seed"], told.config["reused"]) == ("a", 0, True)
    for key in ("epoch", "train_loss", "validation_accuracy", "lr"):
        assert [row[key] for row in told.rows] == [row[key] for row in rows], key
    assert told.rows[-1]["confusion"]["nrows"] == 100 and told.rows[-1]["layer_stats/linear layer 2 of 2/alike"] == 0
    assert (told.summary["best_epoch"], told.summary["best_validation_accuracy"]) == (result.best_epoch, 0.5)
    assert_no_place(result.folder / "wandb")
    (result.folder / "metrics.jsonl").write_text("{}\n")
    other = config.model_copy(update={"wandb": config.wandb.model_copy(update={"group": "h"})})
    mirror_records([(result.folder, other)])
    assert (
        capsys.readouterr().err == "trainer: warning: W&B gets no record of run: run/metrics.jsonl, line 1 is damaged\n"
    )
    assert len(list(result.folder.glob("wandb/offline-run-*"))) == 1


def test_histograms_count_every_parameter_on_its_own_range():
    network = torch.nn.Linear(3, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[0.0, 0.5, 3.0]]))
        network.bias.fill_(7.0)
    histograms = parameter_histograms(network)
    counts = dict(enumerate(histograms["parameters/weight"].histogram))
    assert {place: count for place, count in counts.items() if count} == {0: 1, 5: 1, 29: 1}
    assert histograms["parameters/weight"].bins[::15] == [0.0, 1.5, 3.0]
    assert sum(histograms["parameters/bias"].histogram) == 1
    with torch.no_grad():
        network.weight[0, 1] = math.nan
    assert list(parameter_histograms(network)) == ["parameters/bias"]
    network.weight = torch.nn.Parameter(torch.empty(0, 3))
    assert list(parameter_histograms(network)) == ["parameters/bias"]


def table_of(files: Path, name: str) -> dict:
    (path,) = files.glob(f"media/table/{name}_*.json")
    return json.loads(path.read_text())
