"""A loss and a metric of one's own, trained, continued, compared in a study, and shown wherever figures are shown."""

import csv
import json
import re
from pathlib import Path

import pytest
from conftest import metrics, timeless
from wandb_files import offline_run

from trainer.cli.main import main

LOSS = '''"""Losses to try."""

from torch.nn import functional as F

from trainer.config.types import NonNegative


def gentle(logits, labels, *, gamma: NonNegative = 2.0):
    """(1 − p)^gamma times the cross-entropy of each image. Lin et al. 2017."""
    losses = F.cross_entropy(logits, labels, reduction="none")
    return ((1 - (-losses).exp()) ** gamma * losses).mean()
'''
METRIC = '''"""Metrics to try."""

from torch.nn import functional as F

from trainer.techniques.metric import Minimized


def brier(logits, labels, *, scale: float = 1.0) -> Minimized:
    """The squared distance of the probabilities from the labels. Brier 1950."""
    return scale * (F.softmax(logits, 1) - F.one_hot(labels, logits.shape[1])).square().sum(1).mean()
'''
TINY = ("dataset=digits", "dataset.image_size=8", "model=mlp", "model.hidden=[8]", "device=cpu", "batch_size=256")
QUIET = (*TINY, "wandb.mode=disabled")


@pytest.fixture(autouse=True)
def mine(in_empty_folder):
    (in_empty_folder / "mine").mkdir()
    (in_empty_folder / "mine" / "loss.py").write_text(LOSS)
    (in_empty_folder / "mine" / "metric.py").write_text(METRIC)


def trainer(*arguments: str) -> int:
    return main([*arguments, "--techniques=mine"])


def table(path: Path) -> list[dict]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_an_own_loss_and_metric_are_trained_resumed_recorded_and_shown(capfd):
    chosen = (*TINY, "loss=gentle", "loss.gamma=1.5", "metric=[brier,macro_f1]", "metric.brier.scale=2.0", "lr=0.01")
    assert trainer(*chosen, "epochs=3", "output_dir=whole", "tensorboard=true") == 0
    printed = capfd.readouterr().out
    first, *_, last = rows = metrics(Path("whole"))
    best = min(rows, key=lambda row: row["validation_loss"])
    assert {"train_cross_entropy", "validation_cross_entropy", "validation_brier", "validation_macro_f1"} < first.keys()
    assert 0 < last["train_loss"] < 0.9 * last["train_cross_entropy"]  # (1 − p)^γ is below 1
    assert re.search(rf"Brier +{best['validation_brier']:.4f}\n", printed)
    assert re.search(rf"^ +1/3 .* {first['validation_brier']:.4f} ", printed, re.MULTILINE)
    assert "the cross-entropy fell" in printed  # the diagnosis, whose thresholds are those of cross-entropy

    sent = offline_run(Path("whole"))
    assert sent.summary["best_validation_brier"] == best["validation_brier"]
    assert sent.rows[0]["validation_macro_f1"] == first["validation_macro_f1"]
    assert "validation_brier" in sent.metrics and "train_cross_entropy" in sent.metrics
    events = b"".join(path.read_bytes() for path in Path("whole/tensorboard").iterdir())
    assert b"validation_brier" in events and b"train_cross_entropy" in events

    assert trainer(*chosen, "wandb.mode=disabled", "epochs=2", "output_dir=part") == 0
    assert trainer("resume=part", "epochs=3") == 0
    assert timeless(Path("part"))[-1] == timeless(Path("whole"))[-1]
    capfd.readouterr()
    assert main(["show", "whole"]) == 0
    printed = capfd.readouterr().out
    assert f"Brier                {best['validation_brier']:.4f}" in printed
    assert f"In that epoch: brier {best['validation_brier']:.4f}, macro f1 " in printed
    assert main(["export", "whole", "--epochs", "epochs.csv", "--csv", "runs.csv"]) == 0
    assert [float(row["validation_brier"]) for row in table(Path("epochs.csv"))] == [
        r["validation_brier"] for r in rows
    ]
    assert float(table(Path("runs.csv"))[0]["best_validation_brier"]) == best["validation_brier"]


def test_arms_with_different_losses_are_compared_by_an_own_metric_or_by_cross_entropy(capfd):
    arms = ("loss=cross_entropy,gentle", "metric=brier", "seed=0,1,2", "lr=0.01", "epochs=1")
    assert trainer("-m", *QUIET, *arms, "sweep.metric=brier", "output_dir=study") == 0
    printed = capfd.readouterr().out
    assert "loss=cross_entropy and loss=gentle minimize different losses" in printed
    settings = json.loads(Path("study/study.json").read_text())["sweep"]
    assert (settings["metric"], settings["direction"]) == ("validation_brier", "minimize")
    rows = table(Path("study/table.csv"))
    means = {
        loss: sum(float(row["validation_brier"]) for row in rows if row["loss"] == loss) / 3
        for loss in ("cross_entropy", "gentle")
    }
    low, high = sorted(means, key=means.__getitem__)
    assert f"Best: loss={low}\n" in printed
    assert re.search(rf"^{low} (is better than|against) {high}.* in validation brier[ ,]", printed, re.MULTILINE)
    folder = f"*{low.partition('_')[0]}*"
    beside = [json.loads(path.read_text())["scores"]["cross"] for path in Path("study").glob(f"{folder}/result.json")]
    entropy = sum(each.get("validation_cross_entropy", each["validation_loss"]) for each in beside) / 3
    assert f"Also (not tested): validation cross entropy {entropy:.4f} in {low}, " in printed
    result = json.loads(next(Path("study").glob(f"{folder}/result.json")).read_text())
    assert result["further"]["validation_brier"] > 0

    # Every reader knows the metric and its direction without the folder of the techniques.
    Path("mine").rename("elsewhere")
    assert main(["report", "study"]) == 0
    assert f"{means[low]:.4f}" in capfd.readouterr().out
    page = Path("study/report.html").read_text()
    assert '"further":[{"name":"brier","keys":["validation_brier"]}' in page
    # A run that is trained on cross-entropy records none beside it: its loss is it.
    assert main(["compare", "study", "--metric", "validation_cross_entropy"]) == 0
    assert main(["export", "study", "--epochs", "epochs.csv"]) == 0
    assert all(row["validation_cross_entropy"] for row in table(Path("epochs.csv")))
    capfd.readouterr()
    assert main(["compare", "study", "--metric", "validation_loss"]) == 2
    assert "the values of different losses cannot be compared" in capfd.readouterr().err


def test_values_of_different_losses_are_not_compared_with_each_other(capfd):
    assert trainer("-m", *QUIET, "loss=cross_entropy,gentle", "sweep.metric=validation_loss") == 2
    assert capfd.readouterr().err == (
        "trainer: sweep.metric=validation_loss: the values of different losses (cross_entropy and gentle) cannot be"
        " compared. Accepted here: validation_accuracy, validation_cross_entropy or a metric\n"
    )
    assert trainer(*QUIET, "loss=gentle", "regularization=label_smoothing") == 2
    assert capfd.readouterr().err == (
        "trainer: regularization=label_smoothing smooths the labels of loss=cross_entropy: leave it out with"
        " loss=gentle\n"
    )
    assert not Path("outputs").exists()


def test_a_metric_without_a_direction_is_one_line(capfd):
    Path("mine/metric.py").write_text(METRIC.replace(" -> Minimized", ""))
    assert trainer(*QUIET, "metric=brier") == 2
    assert capfd.readouterr().err == (
        "trainer: mine/metric.py, line 8: brier must say which values are better by the annotation of its result:"
        " -> Maximized or -> Minimized\n"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("accuracy", "validation_accuracy is another figure, rename it"),
        ("a" * 61, "the name of a metric has a–z, A–Z, 0–9 and _, at most 60 of them"),
    ],
)
def test_a_metric_whose_name_no_figure_can_have_is_refused(name, reason, capfd):
    Path("mine/metric.py").write_text(METRIC.replace("def brier", f"def {name}"))
    assert trainer(*QUIET, f"metric={name}") == 2
    assert capfd.readouterr().err == f"trainer: metric={name}: {reason}\n"


def test_a_search_prefers_low_values_of_a_metric_that_is_minimized(capfd):
    search = ("sweep.method=random", "sweep.trials=3", "sweep.pruner=median", "lr=tag(log,interval(1e-5,1e-1))")
    measured = ("metric=calibration_error", "sweep.metric=calibration_error", "epochs=1", "output_dir=study")
    assert main(["-m", *QUIET, *search, *measured]) == 0
    rows = table(Path("study/table.csv"))
    best = min(rows, key=lambda row: float(row["validation_calibration_error"]))
    assert f"Best: lr={best['lr']}" in capfd.readouterr().out
