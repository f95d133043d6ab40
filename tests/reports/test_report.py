"""Reports: what they say, and what the page does in a real browser."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import time

import pytest
import yaml
from browser import CONFUSION, LINES, opened, shown
from conftest import ROOT
from fake_studies import fake_run, fake_study
from fake_wandb_server import wandb_server

from trainer.cli.report import main
from trainer.errors import ConfigError, RunError
from trainer.reports import index, markdown, page
from trainer.reports.charts import curves, figures
from trainer.reports.content import of_study
from trainer.reports.run_content import of_run
from trainer.runtime.lock import locked
from trainer.storage.untrusted import read_json
from trainer.study.winner import winner_of

ALONE = {"epochs": 9, "dataset": {"name": "digits"}, "model": {"name": "mlp"}, "optimizer": {"name": "sgd"}}
LRS = {"lr": ["0.001", "0.01", "0.1"]}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return fake_study(tmp_path_factory.mktemp("study") / "made", LRS, seeds=(0, 1, 2, 3), epochs=10)


def test_what_a_report_says_of_each_arm(study):
    content = of_study(study)
    best = content.arms[0]
    assert [arm.name for arm in content.arms] == ["lr=0.1", "lr=0.01", "lr=0.001"]
    last = [read_json(study / f"run-{number}" / "result.json") for number in range(8, 12)]
    assert best.mean == pytest.approx(sum(each["validation_accuracy"] for each in last) / 4)
    assert (best.parameters, best.best_epoch, best.seconds) == (55490, 10, 15.0)
    rows = [json.loads(line) for line in (study / "run-8" / "metrics.jsonl").read_text().splitlines()]
    goal = 0.95 * max(row["validation_accuracy"] for row in rows)
    first = next(row["epoch"] for row in rows if row["validation_accuracy"] >= goal)
    assert best.runs[0].epochs_to_near_best == first > 5
    assert content.differences == {"lr": ["0.1", "0.01", "0.001"]}
    assert content.verdict[0].startswith("lr=0.1 is better than lr=0.01 by ")
    assert dict(content.facts)["Runs"] == "12 finished"


def test_the_mean_is_of_finished_runs_and_ends_with_the_shortest(tmp_path):
    content = of_study(fake_study(tmp_path / "made", {"lr": ["0.1"]}, seeds=(0, 1, 2), failing=(2,)))
    (arm,) = curves(content.arms)
    assert arm["epochs"] == list(range(1, 11)) and [len(run["epoch"]) for run in arm["runs"]] == [10, 10, 3]
    first, second = (run["validation_loss"] for run in arm["runs"][:2])
    assert arm["mean"]["validation_loss"][4] == pytest.approx((first[4] + second[4]) / 2, rel=1e-4)
    assert arm["deviation"]["validation_loss"][4] == pytest.approx(abs(first[4] - second[4]) / 2**0.5, rel=1e-3)
    assert arm["runs"][0]["seconds"][:3] == [1.5, 3.0, 4.5]
    assert page.rows(content)[0][2]["text"] == "2 of 3: 1 failed"
    assert content.verdict[-1] == "lr=0.1: 1 of 3 runs failed; the mean covers only the runs that finished"


def test_classes_are_summed_over_the_runs_of_an_arm(study):
    found = figures(of_study(study))["classes"]
    assert found["accuracy"] == [[0.8] * 3] * 3
    assert found["confusion"] == [[32, 4, 4], [4, 32, 4], [4, 4, 32]]


def test_a_search_says_what_mattered(tmp_path):
    lrs = [f"{10**-place:.0e}" for place in range(5, 0, -1)]
    folder = fake_study(tmp_path / "made", {"lr": lrs, "dropout": ["0.5", "0.0"]}, method="tpe")
    search = of_study(folder).search
    assert [(axis["key"], axis["log"]) for axis in search["axes"]] == [("lr", True), ("dropout", False)]
    assert len(search["values"]) == 10 and sum(search["importance"].values()) == pytest.approx(1)
    grid = fake_study(tmp_path / "grid", {"optimizer": ["sgd", "adam"]})
    assert of_study(grid).search is None  # one setting: the table says it all


def test_the_markdown_holds_the_verdict_and_the_table(study):
    text = markdown.render(of_study(study))
    content = of_study(study)
    assert f"| lr=0.1 | {content.format_value(content.arms[0].mean, content.arms[0].deviation)} | 4 | 10 | " in text
    assert "* lr=0.1 is better than lr=0.01 by " in text
    assert "| lr=0.001 | 0.001 |" in text  # what differs
    assert "\n* Commit: 0000000" not in text  # these runs recorded no environment


def test_what_is_inside_the_network_is_told_by_layer_and_epoch(tmp_path):
    folder = fake_study(tmp_path / "made", {"lr": ["0.1"]}, epochs=4)
    path = folder / "run-0" / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert figures(of_study(folder))["layers"] is None
    for row in rows[1::2]:
        gradient = {"low": -1.0, "high": 1.0, "counts": [2500, 7500]}
        layer = {"kind": "Conv2d", "update_ratio": row["epoch"] / 1000, "gradient_norm": 0.5, "gradient": gradient}
        row["layer_stats"] = {"layers": {"1.0.0": layer, "1.0.3": {"kind": "ReLU", "dead": 0.25}}, "filters": None}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = figures(of_study(folder))["layers"]
    assert (found["run"], found["epochs"]) == ("run-0", [2, 4])
    assert found["titles"] == {"1.0.0": "convolution 1 of 1", "1.0.3": "ReLU 1 of 1"}
    assert found["quantities"]["update_ratio"] == {"1.0.0": [0.002, 0.004]}
    assert found["quantities"]["dead"] == {"1.0.3": [0.25, 0.25]}
    assert found["histograms"]["gradient"]["1.0.0"]["counts"] == [2500, 7500]
    path.write_text(path.read_text().replace('"Conv2d"', "7"))
    with pytest.raises(RunError, match=r"metrics.jsonl is damaged: layer_stats: layers.1.0.0.kind: "):
        figures(of_study(folder))


def test_names_from_outside_stay_text(tmp_path):
    hostile = "</script><script>document.title='taken'</script>"
    folder = fake_study(tmp_path / "made", {"optimizer": ["sgd", hostile]}, classes=(hostile, "<b>dog</b>"))
    text = page.render(of_study(folder))
    assert hostile not in text and hostile.lower() not in text.lower()
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1]
    assert json.loads(data)["classes"]["names"] == [hostile, "<b>dog</b>"]
    assert 'http-equiv="Content-Security-Policy" content="default-src \'none\'' in text
    assert "//" not in text.partition("<script")[0].replace("</", "")  # nothing is fetched from elsewhere


def test_two_hundred_runs_of_a_hundred_epochs_are_below_10_megabytes(tmp_path):
    lrs = [f"{1e-5 * 1.05**number:.3g}" for number in range(200)]
    content = of_study(fake_study(tmp_path / "made", {"lr": lrs}, epochs=100, method="random"))
    assert len(page.render(content).encode()) < 10e6
    few = curves(content.arms * 6)  # 720 000 numbers: every second epoch, and the last
    assert few[0]["runs"][0]["epoch"][:3] == [2, 4, 6] and few[0]["runs"][0]["epoch"][-1] == 100


def test_a_run_has_a_report_too(tmp_path, capsys):
    config = {"epochs": 4, "dataset": {"name": "digits"}, "model": {"name": "mlp"}, "optimizer": {"name": "sgd"}}
    fake_run(tmp_path / "run", config, 1.0, random.Random(0), 4, ("a", "b"))
    (tmp_path / "run" / "result.json").unlink()  # as of a run by itself
    content = of_run(tmp_path / "run")
    assert content.title == "mlp on digits with sgd" and content.arms[0].best_epoch == 4
    assert content.verdict[0].startswith("The lowest validation loss, ")
    assert main([str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "report.html").is_file() and (tmp_path / "run" / "report.md").is_file()
    with opened(tmp_path / "run" / "report.html") as view:
        ticks = "[...document.querySelectorAll('#loss .xtick text')].map(tick => tick.textContent)"
        assert view.evaluate(ticks) == ["1", "2", "3", "4"]  # whole epochs, from the first one
    assert "One run does not show what another seed would give" in capsys.readouterr().out


def test_the_index_lists_what_is_there_and_names_what_is_not_readable(tmp_path, study):
    shutil.copytree(study, tmp_path / "sweeps" / "one")
    shutil.copytree(study, tmp_path / "sweeps" / "two")
    shutil.copytree(study / "run-0", tmp_path / "lone")  # its config names no model
    page.write(of_study(tmp_path / "sweeps" / "two"))
    path, studies, runs, damage = index.write(tmp_path)
    text = path.read_text()
    assert (studies, runs) == (2, 0)
    assert damage == [f"{tmp_path / 'lone' / 'config.yaml'} is damaged, or of another version"]
    assert damage[0] in text
    for changed, said in (
        ({"epochs": None}, "epochs: Input should be a valid integer"),
        ({"epochs": "ten"}, "epochs: Input should be a valid integer"),
        ({"early_stop_min_delta": None}, "early_stop_min_delta: Input should be a valid number"),
    ):
        tree = {**ALONE, **changed}
        (tmp_path / "lone" / "config.yaml").write_text(yaml.safe_dump(tree))
        assert index.write(tmp_path)[1:3] == (2, 0)
        assert f"lone/config.yaml is damaged, or of another version: {said}" in path.read_text()
    (tmp_path / "lone" / "config.yaml").write_text(yaml.safe_dump(ALONE))
    lines = (study / "run-0" / "metrics.jsonl").read_text().splitlines()
    rows = [{**json.loads(line), "validation_accuracy": None} for line in lines]
    (tmp_path / "lone" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert index.write(tmp_path)[1:3] == (2, 0)
    assert "lone/metrics.jsonl is damaged: epoch 10 has no validation_accuracy" in path.read_text()
    assert '<a href="sweeps/two/report.html">two</a>' in text and 'href="sweeps/one' not in text
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"empty: holds neither a study nor a run$"):
        index.write(tmp_path / "empty")


def test_a_run_without_a_finite_loss_is_told_of(tmp_path):
    config = ALONE
    fake_run(tmp_path / "run", config, 1.0, random.Random(0), 2, ("a", "b"))
    (tmp_path / "run" / "result.json").unlink()
    (tmp_path / "run" / ".heartbeat").touch()  # of a worker elsewhere
    assert dict(of_run(tmp_path / "run").facts)["State"] == "running"
    os.utime(tmp_path / "run" / ".heartbeat", (0, time.time() - 31))
    assert dict(of_run(tmp_path / "run").facts)["State"] == "interrupted"
    with locked(tmp_path / "run"):
        assert "It is still running: 2 of 9 epochs so far." in of_run(tmp_path / "run").verdict
    again = f"To continue: python -m trainer resume={tmp_path / 'run'}"
    killed = f"It was interrupted after 2 of 9 epochs: its process was killed. {again}"
    (tmp_path / "run" / "report.html").write_text("")  # by a report, not by the run
    assert killed in of_run(tmp_path / "run").verdict
    ended = tmp_path / "run" / "result.json"
    ended.write_text('{"state": "failed", "reason": "the training loss\\nis nan in epoch 3. A smaller lr helps"}')
    assert "It failed after 2 of 9 epochs: the training loss?is nan in epoch 3." in of_run(tmp_path / "run").verdict
    index.write(tmp_path)
    assert 'class="text">failed</td>' in (tmp_path / "index.html").read_text()
    ended.unlink()
    stopped = {**config, "early_stop_patience": 1, "early_stop_min_delta": 10.0}  # nothing is progress: the first is
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(stopped))
    assert "It stopped early, after 2 of 9 epochs." in of_run(tmp_path / "run").verdict
    path = tmp_path / "run" / "metrics.jsonl"
    rows = [{**json.loads(line), "validation_loss": None} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert of_run(tmp_path / "run").verdict[:2] == [
        "No validation of this run has come to a finite loss.",
        "It stopped early, after 2 of 9 epochs.",  # a loss that is not finite is no progress
    ]
    path.write_text("")
    (tmp_path / "run").rename(tmp_path / "my run")
    told = of_run(tmp_path / "my run").verdict
    assert told[-1].endswith(f": python -m trainer doctor '{tmp_path}/my run'")
    (tmp_path / "my run").rename(tmp_path / "run")
    text = page.render(of_run(tmp_path / "run"))
    assert 'id="curves"' not in text and 'id="arms"' in text


def test_a_run_goes_on_by_the_command_that_is_accepted(tmp_path):
    config = ALONE
    study = fake_study(tmp_path / "my study", {"model.hidden": ["[8]", "[9]"]})
    command = "python -m trainer -m dataset=digits 'model.hidden=[8],[9]'"
    assert dict(of_study(study).facts)["Command"] == command
    for folder, again in (
        (study / "mine", f"To continue: python -m trainer study '{study}' continue"),
        (
            study / "final" / "seed-0",
            f"To continue it, with the options that it was begun with: python -m trainer finalize '{study}'",
        ),
        (tmp_path / "reproduced" / "run", "To begin it again, repeat the command: python -m trainer reproduce RUN"),
        (tmp_path / "my run", f"To continue: python -m trainer 'resume=\"{tmp_path}/my run\"'"),
    ):
        fake_run(folder, config, 1.0, random.Random(0), 2, ("a", "b"))
        (folder / "result.json").write_text('{"state": "interrupted", "reason": "stopped"}')
        if folder.name == "mine":
            (folder / "job.json").write_text("{}")
        assert f"It was interrupted after 2 of 9 epochs: stopped. {again}" in of_run(folder).verdict


def test_mistakes_are_one_line(tmp_path, study):
    with pytest.raises(ConfigError, match=r"^nowhere: there is no such folder$"):
        main(["nowhere"])
    with pytest.raises(ConfigError, match=r"has no arms$"):
        main([str(tmp_path), "--baseline", "x"])
    shutil.copytree(study / "run-0", tmp_path / "torn")
    (tmp_path / "torn" / "config.yaml").write_text(yaml.safe_dump(ALONE))
    (tmp_path / "torn" / "best.json").write_text("{")
    with pytest.raises(RunError, match=r"best.json is damaged$"):
        of_run(tmp_path / "torn")


DAMAGED = {
    "result.json": " is damaged. Remove it: the run then continues from its last epoch",
    "metrics.jsonl": ", line 1 is damaged",
    "best.json": " is damaged",
    "environment.json": " is damaged",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_of_one_run_hides_no_other_run_and_is_named(tmp_path, name, capsys):
    study = fake_study(tmp_path / "torn", {"lr": ["0.1", "0.01"]}, seeds=(0, 1, 2))
    fake_study(tmp_path / "whole", {"lr": ["0.1", "0.01"]})
    (study / "run-0" / name).write_text('{"epoch": -1}\n' if name == "metrics.jsonl" else "")
    sentence = f"{study / 'run-0' / name}{DAMAGED[name]}"
    content = of_study(study)
    assert sentence in content.verdict and page.render(content)
    # The value of a run is in its result.json alone.
    lost = name == "result.json"
    (arm,) = [arm for arm in content.arms if arm.name == "lr=0.1"]
    assert list(arm.values) == (["1", "2"] if lost else ["0", "1", "2"])
    assert dict(content.facts)["Runs"] == ("1 damaged, 5 finished" if lost else "6 finished")
    missing = "lr=0.1: 1 of 3 runs cannot be read; the mean covers only the runs that finished"
    assert (missing in content.verdict) == lost
    assert main([str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("2 studies\n")
    assert " ".join(printed.err.split()) == f"trainer: warning: {sentence}"
    if lost:
        with pytest.raises(RunError) as caught:
            winner_of(study)
        assert str(caught.value) == sentence


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_cannot_be_listed_is_named(tmp_path, study):
    shutil.copytree(study, tmp_path / "one")
    (tmp_path / "closed").mkdir(mode=0)
    assert index.write(tmp_path)[1:] == (1, 0, [f"{tmp_path / 'closed'} cannot be read: Permission denied"])


def test_the_page_works_in_a_browser(study):
    with opened(page.write(of_study(study))) as view:
        assert view.evaluate(LINES) == 9  # of each of 3 arms the training's mean, the validation's and its band
        view.uncheck("[name=train]")
        view.wait_for_function(f"{LINES} === 6")
        view.check("[name=single]")
        view.wait_for_function(f"{LINES} === 18")  # and 12 runs
        view.focus("#legend button")
        view.keyboard.press("Enter")
        view.wait_for_function(f"{LINES} === 12")
        assert view.get_attribute("#legend button", "aria-pressed") == "false"
        view.check("[name=log]")
        assert view.evaluate("document.getElementById('loss').layout.yaxis.type") == "log"
        view.select_option("[name=over]", "seconds")
        assert view.evaluate("Math.max(...document.getElementById('loss').data.at(-1).x)") == 15
        names = "[...document.querySelectorAll('#arms tbody th')].map(cell => cell.textContent)"
        assert view.evaluate(names) == ["lr=0.1", "lr=0.01", "lr=0.001"]
        view.click("#arms thead th:nth-child(2) button")
        assert view.evaluate(names) == ["lr=0.001", "lr=0.01", "lr=0.1"]
        shown(view, "classes", CONFUSION)


@pytest.mark.long
def test_the_page_fits_a_phone_and_a_hostile_name_runs_nothing(tmp_path):
    hostile = "<img src=x onerror=\"document.title='taken'\">"
    axes = {"lr": ["0.001", "0.1"], "optimizer": ["a" * 150, hostile], "dropout": ["0.0", "0.1", "0.5"]}
    folder = fake_study(tmp_path / "made", axes, classes=(hostile, "dog"))
    with opened(page.write(of_study(folder)), width=390) as view:
        shown(view, "runs", "drawn.has('runs')")
        shown(view, "search", "document.querySelectorAll('#parallel canvas').length > 0")
        shown(view, "classes", CONFUSION)
        assert view.evaluate("document.documentElement.scrollWidth") == 390
        assert view.title() == "made"


def test_a_report_is_read_without_torch(study):
    code = "import sys; from trainer.cli.report import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, study], check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"Report: {study / 'report.html'}"


@pytest.mark.long
def test_a_study_becomes_a_report_and_a_view_in_wandb(tmp_path):
    pytest.importorskip("wandb_workspaces")
    axes = {"lr": ["0.0001", "0.01", "0.1"], "optimizer": ["sgd", "adam"]}
    folder = fake_study(tmp_path / "made", axes, seeds=(0, 1, 2))
    manifest = read_json(folder / "study.json")
    for entry in manifest["runs"]:
        entry["config"]["wandb"] = {"mode": "offline", "project": "lecture", "entity": None, "group": "typed"}
    (folder / "study.json").write_text(json.dumps(manifest))
    with wandb_server() as (address, server):
        environment = {"WANDB_BASE_URL": address, "WANDB_API_KEY": "0" * 40, "HOME": str(tmp_path)}
        command = [sys.executable, "-m", "trainer", "report", str(folder), "--wandb"]
        done = subprocess.run(
            command, check=False, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment}
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"W&B report: {address}/me/lecture/reports/" in done.stdout
    assert f"W&B view: {address}/me/lecture?nw=" in done.stdout
    report, view = server.views
    assert (report["projectName"], report["displayName"]) == ("lecture", "lr=0.0001,0.01,0.1; optimizer=sgd,adam")
    assert (view["projectName"], view["displayName"], view["type"]) == ("lecture", "typed", "project-view")
    assert "lr=0.1 optimizer=adam is better than" in report["spec"]
    assert str(tmp_path) not in report["spec"] + view["spec"]
    (runs,) = json.loads(view["spec"])["section"]["runSets"]
    assert [(each["key"]["name"], each["value"]) for each in runs["filters"]["filters"]] == [
        ("group", "typed"), ("jobType", "train")
    ]  # fmt: skip
    assert [each["name"] for each in runs["grouping"]] == ["arm.value"]
    sections = {
        each["name"]: each["panels"] for each in json.loads(view["spec"])["section"]["panelBankConfig"]["sections"]
    }
    curves, (search,), (table, verdict) = sections["Learning curves"], sections["Search"], sections["Arms"]
    assert [each["config"]["metrics"] for each in curves] == [
        ["validation_accuracy"], ["validation_loss"], ["train_accuracy"], ["train_loss"], ["lr"]
    ]  # fmt: skip
    drawn = {(each["config"]["xAxis"], each["config"]["groupBy"], each["config"]["groupArea"]) for each in curves}
    assert drawn == {("epoch", "arm.value", "minmax")}
    assert [(each["accessor"], each.get("log")) for each in search["config"]["columns"]] == [
        ("config:lr.value", True), ("config:optimizer.value.name", None), ("summary:best_validation_accuracy", None)
    ]  # fmt: skip
    assert "| lr=0.1 optimizer=adam |" in table["config"]["value"] and "better than" in verdict["config"]["value"]


def test_wandb_is_asked_for_a_report_in_vain(tmp_path, study):
    with pytest.raises(ConfigError, match=r"^--wandb: .* is no study; a single run needs no report in W&B$"):
        main([str(study / "run-0"), "--wandb"])
