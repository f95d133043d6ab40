"""`show`: the settings of a run that differ from the default, its command, its data, its result."""

import json
import re

import pytest
import yaml
from conftest import compose, program, quick

from trainer.cli import show
from trainer.errors import ConfigError, RunError

SMALL = ["dataset=digits", "dataset.image_size=16", "model=mlp", "model.hidden=[8]", "device=cpu", "epochs=2"]


def printed(capsys, *arguments):
    """Return the lines of the settings and of what follows, without blanks at their ends."""
    assert show.main([str(word) for word in arguments]) == 0
    title, settings, *rest = capsys.readouterr().out.split("\n\n")
    return title, [line.split() for line in settings.splitlines()], "\n".join(rest)


def facts(text):
    return dict(re.findall(r"^  (\S.*?) {2,}(.+)$", text, flags=re.MULTILINE))


def test_what_differs_from_the_default_of_each_technique(capsys):
    typed = [*SMALL, "optimizer=adamw", "optimizer.eps=1e-6", "lr=0.01", "augmentation=[flip]", "wandb.mode=disabled"]
    run = quick(*typed, "output_dir=run").folder
    capsys.readouterr()
    title, rows, text = printed(capsys, run)
    assert title == "mlp on digits with adamw"
    # The batch size of digits is that of digits: nobody set it.
    assert rows == [
        ["setting", "value", "default"],
        ["dataset", "digits", "cifar10"],
        ["dataset.image_size", "16", "32"],
        ["model", "mlp", "lecture_cnn"],
        ["model.hidden", "[8]", "[256,128]"],
        ["optimizer", "adamw", "adam"],
        ["optimizer.eps", "1e-06", "1e-08"],
        ["augmentation", "[flip]", "none"],
        ["epochs", "2", "30"],
        ["lr", "0.01", "0.001"],
        ["device", "cpu", "auto"],
        ["output_dir", "run", "null"],
        ["wandb.mode", "disabled", "offline"],
    ]
    told, rows_of = facts(text), [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    best = min(rows_of, key=lambda row: row["validation_loss"])
    assert told["Data"] == "digits, 300 validation images"
    assert told["State"] == "finished" and told["Epochs"] == "2 of 2" and told["Folder"] == "run"
    assert told["Best network"] == "run/best.safetensors"
    assert told["Validation accuracy"] == f"{100 * best['validation_accuracy']:.2f} %"
    assert told["Validation loss"] == f"{best['validation_loss']:.4f}"
    assert "The lowest validation loss, " in text


def test_all_settings_and_a_run_that_left_everything_as_it_is(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    config = compose([])[0].tree()
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    assert show.main([str(tmp_path / "run")]) == 0
    assert "\nNo setting differs from the default\n" in capsys.readouterr().out
    _, rows, _ = printed(capsys, tmp_path / "run", "--all")
    assert ["optimizer.betas", "[0.9,0.999]"] in rows and ["regularization", "none"] in rows
    assert len(rows) > 45 and all(len(row) == 2 for row in rows[1:])
    config["optimizer"]["momentums"] = 0.5
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    _, rows, _ = printed(capsys, tmp_path / "run")
    assert rows[1:] == [["optimizer.momentums", "0.5", "this", "version", "has", "no", "such", "setting"]]


def test_the_command_is_the_one_that_trains_the_run_alone(in_empty_folder, capsys):
    done = program(*SMALL, "wandb.mode=disabled", "output_dir=run", cwd=in_empty_folder)
    assert done.returncode == 0
    study = program("-m", *SMALL, "wandb.mode=disabled", "lr=0.1,0.01", "sweep.name=s", cwd=in_empty_folder)
    assert study.returncode == 0
    (folder,) = in_empty_folder.glob("outputs/sweeps/s-*")
    (one,) = folder.glob("lr-0.01-*")
    whole = "dataset=digits dataset.image_size=16 model=mlp 'model.hidden=[8]' device=cpu epochs=2 wandb.mode=disabled"
    told = facts(printed(capsys, "run")[2])
    assert told["Command"] == f"python -m trainer {whole}" and "Study" not in told
    told = facts(printed(capsys, one)[2])
    assert told["Command"] == f"python -m trainer {whole} lr=0.01"
    assert told["Data"] == "digits, 1200 training images, 300 validation images"
    assert told["Study"] == str(folder)


def test_what_cannot_be_shown_is_one_line(in_empty_folder):
    with pytest.raises(ConfigError, match=r"^nowhere: there is no such folder$"):
        show.main(["nowhere"])
    (in_empty_folder / "run").mkdir()
    with pytest.raises(ConfigError, match=r"^run: is not the folder of a run, run/config.yaml does not exist$"):
        show.main(["run"])
    with pytest.raises(ConfigError, match=r"^one RUN is expected, 2 are named: run, run. See .* show --help$"):
        show.main(["run", "run"])
    (in_empty_folder / "run" / "config.yaml").write_text("epochs: 1\n")
    with pytest.raises(RunError, match=r"^run/config.yaml is damaged, or of another version$"):
        show.main(["run"])
