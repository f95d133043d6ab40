"""`export`: the files of a study, each read back as its reader does."""

import csv
import importlib.util
import io
import json
import random
import re
import shutil
import statistics
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from conftest import ROOT
from fake_studies import fake_run, fake_study

from trainer.cli import export
from trainer.errors import ConfigError, RunError
from trainer.storage.untrusted import read_json

AXES = {"lr": ["0.1", "0.01"], "optimizer": ["sgd", "adam"]}


@pytest.fixture
def study(in_empty_folder):
    """Four arms of three seeds; the third run of the best arm failed."""
    fake_study(Path("made"), AXES, seeds=(0, 1, 2), failing=(11,))
    for path in Path("made").glob("run-*/config.yaml"):  # as a run records them: numbers, and groups with a name
        config = yaml.safe_load(path.read_text())
        config |= {"lr": float(config["lr"]), "optimizer": {"name": config["optimizer"], "eps": 1e-8}}
        path.write_text(yaml.safe_dump(config))
    manifest = read_json(Path("made/study.json"))
    for entry in manifest["runs"]:
        entry["config"] = yaml.safe_load(Path("made", entry["folder"], "config.yaml").read_text())
    Path("made/study.json").write_text(json.dumps(manifest))
    return "made"


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def metrics_of(folder):
    return [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]


def test_a_row_a_run_and_a_row_an_epoch(study, capsys):
    export.main([study, "--csv", "runs.csv", "--epochs", "epochs.csv"])
    assert capsys.readouterr().out == "Written: runs.csv (12 rows)\nWritten: epochs.csv (113 rows)\n"
    runs = rows(Path("runs.csv").read_text())
    arms = [row["arm"] for row in runs]
    assert arms[::3] == list(dict.fromkeys(arms)) and (arms[0], arms[-1]) == (
        "lr=0.01 optimizer=adam",
        "lr=0.1 optimizer=sgd",
    )
    first, failed = runs[0], next(row for row in runs if row["state"] == "failed")
    lines = metrics_of(f"made/{first['folder']}")
    assert (first["study"], first["lr"], first["optimizer"], first["seed"]) == ("made", "0.01", "adam", "0")
    assert first["best_epoch"] == "10" and first["parameters"] == "55490" and first["validation_images"] == "30"
    assert float(first["seconds"]) == 15.0 and first["epochs"] == "10"
    for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
        lowest = min(lines, key=lambda line: line["validation_loss"])
        assert lowest["epoch"] == 10
        assert float(first[f"best_{name}"]) == lowest[name] and float(first[f"last_{name}"]) == lines[-1][name]
    assert (failed["folder"], failed["epochs"], failed["reason"]) == ("run-11", "3", "out of memory")
    # `lr` is the scheduled one here, so that the setting has another name.
    epochs = [row for row in rows(Path("epochs.csv").read_text()) if row["folder"] == first["folder"]]
    assert [int(row["epoch"]) for row in epochs] == list(range(1, 11))
    for row, line in zip(epochs, lines, strict=True):
        assert all(float(row[key]) == value for key, value in line.items() if key not in ("improved",))
        assert (row["setting.lr"], row["improved"], row["skipped_steps"]) == ("0.01", "True", "0")


def test_a_run_without_its_metrics_keeps_what_its_result_says(study, capsys):
    result = {**read_json(Path("made/run-0/result.json")), "train_eval_accuracy": 0.5}
    Path("made/run-0/result.json").write_text(json.dumps(result))
    Path("made/run-0/metrics.jsonl").unlink()
    export.main([study, "--csv", "-"])
    row = next(row for row in rows(capsys.readouterr().out) if row["folder"] == "run-0")
    assert (row["epochs"], row["best_epoch"], row["seconds"], row["last_train_loss"]) == ("10", "10", "", "")
    assert float(row["best_validation_accuracy"]) == result["validation_accuracy"]
    assert float(row["gap"]) == pytest.approx(0.5 - result["validation_accuracy"])


def test_parquet_holds_the_same_with_types(study):
    parquet = pytest.importorskip("pyarrow.parquet")
    export.main([study, "--csv", "runs.csv", "--parquet", "runs.parquet", "--epochs", "epochs.parquet"])
    found = parquet.read_table("runs.parquet")
    types = dict(zip(found.schema.names, map(str, found.schema.types), strict=True))
    assert (types["arm"], types["lr"], types["seed"], types["epochs"]) == ("string", "double", "int64", "int64")
    assert (types["reason"], types["training_images"]) == ("string", "int64")
    for row, typed in zip(rows(Path("runs.csv").read_text()), found.to_pylist(), strict=True):
        assert {key: "" if value is None else str(value) for key, value in typed.items()} == row
    assert parquet.read_table("epochs.parquet").num_rows == 113


def test_the_verdict_as_json(study, capsys):
    export.main([study, "--json", "-"])
    tree = json.loads(capsys.readouterr().out)
    assert (tree["schema_version"], tree["kind"], tree["metric"], tree["unit"]) == (
        2,
        "study",
        "validation_accuracy",
        "seed",
    )
    assert not tree["complete"] and tree["states"] == {"finished": 11, "failed": 1}
    missing = {
        "arm": "lr=0.01 optimizer=adam",
        "folder": "run-11",
        "seed": 2,
        "state": "failed",
        "reason": "out of memory",
    }
    assert tree["missing"] == [missing]
    best, *_ = tree["arms"]
    assert best["settings"] == {"lr": 0.01, "optimizer": "adam"} and (best["n"], best["runs"]) == (2, 3)
    assert best["mean"] == statistics.mean(best["values"].values()) and sorted(best["values"]) == ["0", "1"]
    assert tree["best"] == "lr=0.01 optimizer=adam"
    assert tree["winner"] is None  # of two runs nothing can be concluded
    assert tree["reference"] == "lr=0.01 optimizer=sgd"  # the best of those that have three runs
    assert [each["p"] is None for each in tree["comparisons"]] == [True, False, False]
    export.main([study, "--json", "verdict.json", "--baseline", "lr=0.1 optimizer=sgd"])
    tree = json.loads(Path("verdict.json").read_text())
    assert tree["reference"] == "lr=0.1 optimizer=sgd" and tree["winner"] is None
    tested = [each for each in tree["comparisons"] if each["p"] is not None]
    for each in tested:
        first, second = (next(arm for arm in tree["arms"] if arm["name"] == each[key]) for key in ("first", "second"))
        assert each["difference"] == pytest.approx(first["mean"] - second["mean"])
        low, high = each["interval"]
        assert low < each["difference"] < high and (low + high) / 2 == pytest.approx(each["difference"])
        assert each["p"] < each["p_corrected"] < 0.05 and each["concluded"]
        assert each["sentence"] in tree["sentences"]
    assert len(tested) == 2


def test_a_winner_is_better_than_every_other_arm(in_empty_folder, capsys):
    fake_study(Path("made"), {"lr": ["0.1", "0.01", "0.001"]}, seeds=(0, 1, 2))
    export.main(["made", "--json", "-"])
    tree = json.loads(capsys.readouterr().out)
    assert (tree["winner"], tree["complete"], tree["level"]) == ("lr=0.001", True, 0.95)


def unlisted(tree, schema, place=""):
    """Yield each key of a tree that its schema does not name."""
    if isinstance(tree, dict) and "properties" in schema:
        for key, value in tree.items():
            if key not in schema["properties"]:
                yield f"{place}.{key}"
            else:
                yield from unlisted(value, schema["properties"][key], f"{place}.{key}")
    if isinstance(tree, list):
        for each in tree:
            yield from unlisted(each, schema["items"], f"{place}[]")


@pytest.mark.parametrize("words", [["made"], ["made", "--baseline", "lr=0.1 optimizer=sgd"]], ids=str)
def test_the_verdict_follows_its_schema_which_names_every_key(study, words, capsys):
    import jsonschema

    schema = json.loads((ROOT / "docs" / "verdict.schema.json").read_text(encoding="utf-8"))
    export.main([*words, "--json", "-"])
    tree = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(schema).validate(tree)
    assert not list(unlisted({**tree, "findings": []}, schema))  # a finding has figures of its own


def test_the_documents_list_every_column_and_key(study, capsys):
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    export.main([study, "--json", "verdict.json", "--csv", "runs.csv", "--epochs", "epochs.csv"])
    named = set(re.findall(r"`([\w.]+)`", text))
    tree = json.loads(Path("verdict.json").read_text())
    for keys in (tree, tree["arms"][0], tree["comparisons"][0], tree["missing"][0]):
        assert keys.keys() <= named, keys.keys() - named
    for table in ("runs.csv", "epochs.csv"):
        titles = set(Path(table).read_text().partition("\n")[0].split(","))
        assert titles <= {*named, *AXES}, titles - named


def test_latex_is_escaped_and_ruled(study, capsys):
    manifest = Path("made/study.json").read_text()
    Path("made/study.json").write_text(manifest.replace('"sgd"', r'"s_g&d\\{$%#~^<--é漢"'))
    export.main([study, "--latex", "-", "--baseline", "lr=0.1 optimizer=adam"])
    text = capsys.readouterr().out
    assert r"s\_g\&d\textbackslash{}\{\$\%\#\textasciitilde{}\textasciicircum{}\textless{}-{}-é? & $" in text
    rules = [text.index(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}")]
    assert rules == sorted(rules)
    body = [line for line in text[rules[1] : rules[2]].splitlines() if line.endswith(r" \\")]
    assert len(body) == 4 and {line.count(" & ") for line in body} == {5} and r"$\mathbf{" in body[0]
    assert "Each network has 55\\,490 parameters." in text


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="LaTeX is not installed")
def test_latex_sets_the_table_within_the_width_of_a_page(in_empty_folder):
    fake_study(Path("made"), {"optimizer": ["s_g&{$%#~^<é", "adam"]}, seeds=(0, 1, 2))
    for path in Path("made").glob("run-*/result.json"):
        path.write_text(json.dumps({**read_json(path), "train_eval_accuracy": 1.0}))
    export.main(["made", "--latex", "table.tex"])
    frame = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{table.tex}\end{document}"
    Path("paper.tex").write_text(frame)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
    assert " & Gap & " in Path("table.tex").read_text()
    assert done.returncode == 0 and "Overfull" not in done.stdout, done.stdout


@pytest.mark.long
def test_figures_are_drawn_and_the_same_again(study):
    pytest.importorskip("matplotlib")
    command = [study, "--figures", "figures", "--baseline", "lr=0.1 optimizer=sgd"]
    export.main(command)
    names = [f"{name}.{form}" for name in ("arms", "differences", "learning_curves") for form in ("pdf", "svg")]
    assert sorted(path.name for path in Path("figures").iterdir()) == names
    first = {name: Path("figures", name).read_bytes() for name in names}
    for name, content in first.items():
        if name.endswith("svg"):
            assert ElementTree.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"
        else:
            assert content.startswith(b"%PDF-") and b"/FontFile2" in content and b"CreationDate" not in content
    export.main(command)
    assert first == {name: Path("figures", name).read_bytes() for name in names}


def test_a_single_run_and_runs_trained_apart(in_empty_folder, capsys):
    config = {"epochs": 10, "seed": 0, "dataset": {"name": "digits"}, "model": {"name": "mlp"}}
    for name, lr in (("slow", 0.01), ("fast", 0.1)):
        fake_run(
            Path(name),
            {**config, "lr": lr, "optimizer": {"name": "sgd"}},
            10 * lr,
            random.Random(0),
            10,
            ("a", "b", "c"),
        )
        Path(name, "result.json").write_text('{"state": "finished"}')
    export.main(["slow", "--csv", "-"])
    (row,) = rows(capsys.readouterr().out)
    assert (row["study"], row["arm"], row["folder"], row["seed"], row["epochs"]) == ("", "", "slow", "0", "10")
    export.main(["slow", "--json", "-", "--latex", "t.tex"])
    tree = json.loads(capsys.readouterr().out)
    assert (tree["kind"], tree["best"], tree["winner"], tree["comparisons"]) == ("run", "slow", None, [])
    export.main(["slow", "fast", "--csv", "-"])
    assert [(row["arm"], row["lr"], row["folder"]) for row in rows(capsys.readouterr().out)] == [
        ("lr=0.1", "0.1", "fast"),
        ("lr=0.01", "0.01", "slow"),
    ]


def test_a_text_that_a_spreadsheet_would_compute_is_harmless(study, capsys):
    result = Path("made/run-0/result.json")
    result.write_text(json.dumps({"state": "failed", "reason": '=HYPERLINK("x")'}))
    export.main([study, "--csv", "-"])
    table = rows(capsys.readouterr().out)
    assert next(row for row in table if row["folder"] == "run-0")["reason"] == '\'=HYPERLINK("x")'


def test_a_run_whose_folder_is_gone_keeps_the_result_that_the_study_holds(study, capsys):
    export.main([study, "--json", "whole.json"])
    manifest = read_json(Path("made/study.json"))
    for entry in manifest["runs"]:
        entry["result"] = read_json(Path("made", entry["folder"], "result.json"))
    Path("made/study.json").write_text(json.dumps(manifest))
    shutil.rmtree("made/run-0")
    capsys.readouterr()
    assert export.main([study, "--csv", "-", "--json", "now.json"]) == 1
    told = capsys.readouterr()
    assert told.err == "trainer: warning: 1 run is missing: its folder is gone\n"
    row = next(row for row in rows(told.out) if row["folder"] == "run-0")
    assert (row["state"], row["epochs"]) == ("finished", "10")
    assert float(row["best_validation_accuracy"]) == manifest["runs"][0]["result"]["validation_accuracy"]
    whole, now = (json.loads(Path(f"{name}.json").read_text()) for name in ("whole", "now"))
    assert now["comparisons"] == whole["comparisons"] and now["states"] == whole["states"]


def configure(folder, number, **settings):
    """Change the recorded settings of a run in both places that hold them."""
    manifest = read_json(Path(folder, "study.json"))
    entry = manifest["runs"][number]
    entry["config"] |= settings
    Path(folder, "study.json").write_text(json.dumps(manifest))
    Path(folder, entry["folder"], "config.yaml").write_text(yaml.safe_dump(entry["config"]))


def test_arms_of_several_settings_have_a_column_for_each(in_empty_folder, capsys):
    pytest.importorskip("pyarrow")
    fake_study(Path("made"), {"arm": ["optimizer=sgd augmentation=none lr=0.1", "optimizer=adam augmentation=flip"]})
    configure("made", 0, optimizer={"name": "sgd"}, augmentation={}, lr=0.1, seed=10**20)
    configure("made", 1, optimizer={"name": "adam"}, augmentation={"flip": {}}, lr=0.001)
    export.main(["made", "--csv", "-", "--parquet", "runs.parquet"])
    adam, sgd = rows(capsys.readouterr().out)
    assert list(sgd)[:6] == ["study", "arm", "optimizer", "augmentation", "lr", "seed"]
    assert list(sgd.values())[2:6] == ["sgd", "none", "0.1", str(10**20)]
    assert list(adam.values())[2:6] == ["adam", "flip", "0.001", "0"]


def test_a_study_that_has_not_begun_has_tables_and_nothing_to_draw(study, capsys):
    pytest.importorskip("matplotlib")
    for path in [*Path("made").glob("run-*/metrics.jsonl"), *Path("made").glob("run-*/result.json")]:
        path.unlink()
    export.main([study, "--csv", "runs.csv", "--epochs", "epochs.csv", "--json", "-", "--latex", "table.tex"])
    tree = json.loads(capsys.readouterr().out)
    assert (tree["best"], tree["winner"], tree["complete"], len(tree["missing"])) == (None, None, False, 12)
    assert {row["state"] for row in rows(Path("runs.csv").read_text())} == {"queued"}
    assert rows(Path("epochs.csv").read_text()) == [] and "---" in Path("table.tex").read_text()
    with pytest.raises(RunError) as caught:
        export.main([study, "--figures", "figures"])
    assert str(caught.value) == "--figures: made has no epoch yet, so there is nothing to draw"
    assert not Path("figures").exists()


def test_a_link_stays_and_its_file_is_replaced(study):
    Path("real.csv").write_text("old")
    Path("link.csv").symlink_to("real.csv")
    export.main([study, "--csv", "link.csv"])
    assert Path("link.csv").is_symlink() and len(rows(Path("real.csv").read_text())) == 12


MISTAKES = {
    "": "STUDY: is missing. See",
    "made": "say what to write: --csv FILE, --parquet FILE, --epochs FILE, --json FILE, --latex FILE, --figures DIR.",
    "made --csv nowhere/runs.csv": "--csv nowhere/runs.csv: there is no folder nowhere",
    "made --csv made": "--csv made: is a folder; name a file",
    "made --epochs epochs.txt": "--epochs epochs.txt: must end in .csv or .parquet",
    "made --parquet -": "--parquet -: is no text to print; name a file",
    "made --csv - --json -": "--csv and --json: only one of them can be printed",
    "made --csv /dev/null": "--csv /dev/null: is not a regular file; name one, or - to print",
    "made --figures nowhere/figures": "--figures nowhere/figures: there is no folder nowhere",
    "made --figures made/study.json": "--figures made/study.json: is a file; name a folder",
    "made --csv a.csv --epochs a.csv": "a.csv: is named for two of the files",
    "made --csv a.csv --baseline none": "--baseline=none: the study has no such arm.",
    "made/run-0 --csv a.csv --baseline none": "--baseline=none: made/run-0 is no study, it has no arms",
    "nowhere --csv a.csv": "nowhere: there is no such folder",
}


@pytest.mark.parametrize("typed", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_no_file(study, typed):
    with pytest.raises(ConfigError) as caught:
        export.main(typed.split())
    assert MISTAKES[typed] in str(caught.value)
    assert [path.name for path in Path().iterdir()] == ["made"]


@pytest.mark.parametrize(
    ("typed", "library"),
    [("--parquet a.parquet", "pyarrow"), ("--figures a", "matplotlib"), ("--epochs a.parquet", "pyarrow")],
)
def test_a_library_that_is_missing_is_named_with_its_extra(study, typed, library, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == library else real(name))
    with pytest.raises(ConfigError) as caught:
        export.main([study, *typed.split()])
    extra = "figures" if library == "matplotlib" else "parquet"
    assert str(caught.value).startswith(
        f"{typed} needs {library}: pip install 'ablation-trainer[{extra}]'. From a checkout"
    )
