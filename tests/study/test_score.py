"""`sweep.score`: which epochs decide a study, in its table, its verdict and all that is written of it."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from conftest import interpret, metrics

from trainer.cli import compare, export
from trainer.cli.main import main
from trainer.errors import ConfigError
from trainer.records.metrics import read_metrics
from trainer.records.outcome import read_outcome
from trainer.reports.content import of_study
from trainer.storage.untrusted import read_json
from trainer.study.execute import history
from trainer.study.fingerprint import DataFingerprints
from trainer.study.folder import Study
from trainer.study.locate import located
from trainer.study.manifest import Manifest

SMALL = ("dataset=digits", "dataset.image_size=8", "model=mlp", "model.hidden=[8]", "device=cpu", "batch_size=64")
QUICK = ("-m", *SMALL, "wandb.mode=disabled", "sweep.fairness_check=off")
COMMAND = (*QUICK, "lr=0.1,0.05", "seed=0,1,2", "epochs=9", "validate_every=2", "sweep.name=s")
CROSS = "cross-fitted"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """A study of two learning rates and three seeds, of which five epochs are validated."""
    folder = tmp_path_factory.mktemp("score")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(list(COMMAND)) == 0
    return folder / "outputs"


@pytest.fixture
def study(outputs, in_empty_folder):
    """A copy of the study, in the place where its command looks for it."""
    shutil.copytree(outputs, "outputs")
    return next(Path("outputs/sweeps").iterdir())


def by_hand(run: Path) -> float:
    rows = [row for row in read_metrics(run, halves=True) if row["halves"]]
    assert [row["epoch"] for row in rows] == [2, 4, 6, 8, 9]
    best = [min(rows, key=lambda row: row["halves"][half]["validation_loss"])["halves"] for half in (0, 1)]
    return (best[0][1]["validation_accuracy"] + best[1][0]["validation_accuracy"]) / 2


def scores_of(content) -> list[float]:
    return [value for arm in content.arms for value in arm.values.values()]


def test_the_cross_fitted_score_decides_and_is_named_wherever_it_is_shown(study, capsys):
    content = of_study(study)
    for arm in content.arms:
        runs = {run.replicate.removeprefix("seed="): by_hand(run.folder) for run in arm.runs}
        assert arm.values == pytest.approx(runs)
    values = [run.outcome.validation_accuracy for arm in content.arms for run in arm.runs]
    differing = [one != pytest.approx(other) for one, other in zip(values, scores_of(content), strict=True)]
    assert any(differing)  # `values` are those of the best epochs
    assert content.score == "cross" and f"3 seeds, {CROSS}" in content.verdict[0]
    assert sum(line.startswith("Score: each half of the validation images") for line in content.sentences) == 1
    assert main(list(COMMAND)) == 0  # all are trained already
    printed = capsys.readouterr().out
    assert f"validation accuracy, {CROSS} ± sd" in printed and f"{content.arms[0].mean:.2%}" in printed
    assert export.main([str(study), "--json", "verdict.json", "--latex", "table.tex", "--csv", "runs.csv"]) == 0
    assert json.loads(Path("verdict.json").read_text())["score"] == "cross"
    assert f"validation accuracy, {CROSS}, mean" in Path("table.tex").read_text()
    for file in (Path("runs.csv"), study / "table.csv"):
        rows = list(csv.DictReader(file.read_text().splitlines()))
        scores = [float(row["score"]) for row in rows]
        assert sorted(scores) == pytest.approx(sorted(scores_of(content))), file
    text = (study / "table.csv").read_text()
    assert main(["report", str(study)]) == 0 and (study / "table.csv").read_text() == text
    assert f"Validation accuracy, {CROSS}, of each arm minus" in (study / "report.html").read_text()


def test_another_score_trains_nothing_and_is_told_as_a_change(study, capsys):
    before = {path: path.stat().st_mtime_ns for path in study.glob("*/last.safetensors")}
    assert main([*COMMAND, "sweep.score=mean:2"]) == 0
    printed = capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in study.glob("*/last.safetensors")}
    assert "3 seeds, mean of the last 2 validations" in printed
    assert "sweep.score was changed from cross to mean:2 on 20" in printed
    assert "when the results of 6 runs were known\nA comparison that is changed in the light of its results" in printed
    run = next(study.glob("*lr-0.1_seed-0*"))
    rows = [row["validation_accuracy"] for row in read_metrics(run) if row["validation_accuracy"] is not None]
    arm = next(arm for arm in of_study(study).arms if arm.name == "lr=0.1")
    assert arm.values["0"] == pytest.approx(sum(rows[-2:]) / 2)
    kept = Manifest.read(study)
    assert kept.settings.score == "mean:2" and len(kept.changes) == 1
    assert compare.main([str(study), "--score", "last"]) == 0
    printed = capsys.readouterr().out
    assert "3 seeds, last epoch" in printed
    assert "--score last was chosen after the runs, which their study scores by mean:2: a comparison that is" in printed
    shutil.rmtree(run)  # the study keeps the score of its runs
    assert next(each for each in of_study(study).arms if each.name == "lr=0.1").values == pytest.approx(arm.values)


def test_runs_of_an_earlier_version_are_all_scored_at_their_best_epoch(study, capsys):
    """Of one run the halves are missing: values by two rules cannot be compared."""
    run = next(study.glob("*lr-0.05_seed-1*"))
    lines = [json.dumps({**line, "halves": None}) + "\n" for line in metrics(run)]
    (run / "metrics.jsonl").write_text("".join(lines))
    result = read_json(run / "result.json")
    (run / "result.json").write_text(json.dumps({**result, "scores": {}}))
    for words in ([str(study)], [str(path) for path in sorted(study.glob("*lr-*"))]):  # the study, and its runs
        assert compare.main(words) == 0
        printed = capsys.readouterr().out
        assert "3 seeds, best epoch" in printed and CROSS not in printed
        assert (
            "sweep.score=cross is not possible: 1 of 6 runs has not recorded the figures of both halves of the"
            " validation images, so that all are scored at their best epoch" in printed
        )
    manifest = read_json(study / "study.json")
    del manifest["sweep"]["score"]  # as an earlier version wrote it: nothing else was asked for
    (study / "study.json").write_text(json.dumps(manifest))
    content = of_study(study)
    assert content.score == "best" and not any("not possible" in line for line in content.sentences)
    outcomes = [run.outcome.validation_accuracy for run in content.arms[0].runs]
    assert list(content.arms[0].values.values()) == outcomes


def test_an_adopted_run_brings_its_scores_and_its_hits(study):
    assert main([*QUICK, "lr=0.1", "seed=0,1", "epochs=9", "validate_every=2", "sweep.name=other"]) == 0
    (other,) = (path for path in Path("outputs/sweeps").iterdir() if path != study)
    taken = next(other.glob("*seed-0*"))
    source = next(study.glob("*lr-0.1_seed-0*"))
    assert read_outcome(taken).scores == read_outcome(source).scores != {}
    assert (taken / "hits.json").read_text() == (source / "hits.json").read_text()
    assert Manifest.read(other).settings.score == "cross"


def test_a_search_is_told_the_score_and_another_score_is_another_search(in_empty_folder):
    command = [*QUICK, "lr=tag(log,interval(0.001,1))", "sweep.method=random", "sweep.trials=3", "epochs=3"]
    assert main(command) == 0
    plan, study = located(interpret(command), DataFingerprints())
    assert study.open()
    tried = history(plan, study, 1)
    assert [point.value for point in tried] == [
        study.outcome(entry).scores["cross"]["validation_accuracy"] for entry in study.entries
    ]
    other = located(interpret([*command, "sweep.score=last"]), DataFingerprints())[1]
    assert isinstance(other, Study) and other.id != study.id
    tuned = [*QUICK, "optimizer=sgd,adam", "seed=0,1,2", "tune.lr=0.1,0.01", "epochs=1"]
    plans = [interpret([*tuned, f"sweep.score={rule}"]) for rule in ("cross", "last")]
    assert len({located(each, DataFingerprints())[1].id for each in plans}) == 2


def test_a_score_that_no_run_can_have_is_refused_before_the_first_one(in_empty_folder):
    kinds = "must be cross, best, last or mean:K, the last K validations"
    few = "a run of 9 epochs has 5 validations. Accepted here: cross, best, last, or mean:K up to mean:5"
    for rule, said in {"mean:6": few, "mean:0": kinds, "first": kinds}.items():
        with pytest.raises(ConfigError) as caught:
            interpret([*COMMAND, f"sweep.score={rule}"])
        assert said in str(caught.value)
    assert not Path("outputs").exists()


def test_a_metric_that_needs_all_images_has_no_cross_fitted_score(in_empty_folder, capsys):
    Path("metric.py").write_text(
        "from trainer.techniques.metric import Maximized\n\n\ndef whole(logits, labels) -> Maximized:\n"
        "    if len(labels) < 300:\n        raise ValueError('every image is needed')\n"
        "    return logits.max() * 0 + 1\n"
    )
    command = [*QUICK, "lr=0.1,0.05", "epochs=1", "--techniques=metric.py", "metric=[whole]", "sweep.metric=whole"]
    assert main(command) == 1
    assert (
        "validation_whole was not finite on a half of the validation images of 2 of 2 runs: there is nothing to"
        " compare. sweep.score=best measures all of them at once\n"
    ) in capsys.readouterr().out
    assert main([*command, "sweep.score=best"]) == 0
    assert "at 1 seed, best epoch, no verdict" in capsys.readouterr().out
