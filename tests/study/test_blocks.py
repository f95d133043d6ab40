"""Several data sets in one study: arms are compared within each of them, and no command compares across them."""

import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from conftest import ROOT, compose, program
from fake_studies import fake_study

from trainer.api.studies import Study
from trainer.cli import export
from trainer.errors import ConfigError
from trainer.reports import index, markdown
from trainer.reports.content import of_study
from trainer.reports.expectation import answers
from trainer.reports.listing import rows_of
from trainer.study.blocks import blocks_of
from trainer.study.judging import verdict
from trainer.study.manifest import Manifest
from trainer.study.results import results_of
from trainer.study.winner import winner_of

TINY = ("model=mlp", "model.hidden=[8]", "device=cpu", "wandb.mode=disabled", "epochs=1", "dataset.validation_size=60")
CLASSES = {"dataset.classes": ["2", "4"], "optimizer": ["sgd", "adam"]}


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A study of digits and of an .npz file, as the program trains it: its folder and what was printed."""
    place = tmp_path_factory.mktemp("blocks")
    labels = np.arange(240) % 4
    images = np.random.default_rng(0).integers(0, 60, (240, 8, 8, 1)) + 40 * labels[:, None, None, None]
    parts = {"x_train": images[:200], "y_train": labels[:200], "x_test": images[200:], "y_test": labels[200:]}
    (place / "data").mkdir()
    np.savez(place / "data" / "own.npz", **{name: part.astype(np.uint8) for name, part in parts.items()})
    axes = ("dataset=digits,arrays", "optimizer=sgd,adam", "lr=0.03", "seed=0,1,2", "data_dir=data")
    done = program("-m", *TINY, *axes, cwd=place)
    assert done.returncode == 0, done.stderr
    (folder,) = (place / "outputs" / "sweeps").iterdir()
    return folder, done.stdout + done.stderr


@pytest.fixture
def two_blocks(in_empty_folder):
    return fake_study(Path("made"), CLASSES, seeds=(0, 1, 2))


def test_the_terminal_groups_by_data_set_and_picks_no_best_over_them(real):
    _, printed = real
    assert "Note: scores are compared within each of dataset=digits and dataset=arrays, and never between" in printed
    table = [line.split()[:2] for line in printed.splitlines() if line.split()[:1] in (["digits"], ["arrays"])]
    assert [block for block, _ in table] == ["digits", "digits", "arrays", "arrays"]
    assert "Best: " not in printed
    for block in ("digits", "arrays"):
        (best,) = (line for line in printed.splitlines() if line.startswith(f"Best on {block}: "))
        command = printed.splitlines()[printed.splitlines().index(best) + 1]
        assert f"dataset={block} " in command and best.rpartition(" ")[2] in command
    assert "is better than dataset=" not in printed and "dataset=digits against" not in printed
    told = [line for line in printed.splitlines() if line.startswith(("digits: ", "arrays: "))]
    told = [line for line in told if ": Other images" not in line]
    assert [line.partition(":")[0] for line in told] == ["digits", "arrays"]
    assert "2 data sets" in printed.replace("\n", " ")


def test_report_json_and_latex_hold_a_verdict_for_each_data_set(real, in_empty_folder):
    folder = Path(shutil.copytree(real[0], "study"))
    whole = str(folder)
    assert export.main([whole, "--json", "v.json", "--latex", "t.tex", "--csv", "r.csv", "--figures", "figures"]) == 0
    tree = json.loads(Path("v.json").read_text())
    schema = json.loads((ROOT / "docs" / "verdict.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(tree)
    assert tree["blocks"][0].keys() == schema["properties"]["blocks"]["items"]["properties"].keys()
    assert (tree["comparisons"], tree["best"], tree["winner"], tree["reference"]) == ([], None, None, None)
    assert [block["name"] for block in tree["blocks"]] == ["digits", "arrays"]
    for block in tree["blocks"]:
        (pair,) = block["comparisons"]
        assert {pair["first"], pair["second"]} == {"sgd", "adam"} and pair["n_first"] == 3
        assert {each["arm"] for each in block["arms"]} == {
            f"dataset={block['name']} optimizer={name}" for name in ("sgd", "adam")
        }
        assert block["best"] in ("sgd", "adam") and block["sentences"]
    (finding,) = tree["findings"]
    assert finding["question"] == "over_blocks" and set(finding["blocks"]) == {"digits", "arrays"}
    means = {arm["name"]: arm["mean"] for arm in tree["arms"]}
    for name, difference in finding["blocks"].items():
        first, second = (means[f"dataset={name} optimizer={finding[key]}"] for key in ("first", "second"))
        assert difference == pytest.approx(first - second)
    assert finding["difference"] == pytest.approx(sum(finding["blocks"].values()) / 2)
    latex = Path("t.tex").read_text()
    assert latex.index(r"\textit{digits}") < latex.index(r"\textit{arrays}") and latex.count(r"\mathbf") == 2
    drawn = {path.name for path in Path("figures").glob("*.svg")}
    assert {"differences_digits.svg", "differences_arrays.svg", "arms_digits.svg", "profile.svg"} <= drawn
    assert "differences.svg" not in drawn and "arms.svg" not in drawn
    report = Study(folder).report().read_text()
    assert ">digits: differences to " in report and ">arrays: differences to " in report
    assert "Performance profile over 2 data sets" in report and "Descriptive; no test." in report
    assert "digits, 1" not in report.partition("<dt>Data</dt>")[0]
    assert "arrays, 140 training images" in report
    assert "dataset=digits optimizer=" in markdown.render(of_study(folder))
    assert Study(folder).verdict.winner is None and list(Study(folder).verdict.blocks) == ["digits", "arrays"]


def test_no_list_names_a_best_arm_over_data_sets(real):
    content = of_study(real[0], search=False)
    assert index._study(content, real[0].parent)[3]["text"] == "—"
    (row,) = rows_of([content], {}, "validation_accuracy")
    assert (row.arm, row.value) == ("", None)
    (row,) = rows_of([content], {"dataset": ["arrays"]}, "validation_accuracy")
    assert row.arm.startswith("dataset=arrays optimizer=")


def test_the_winner_is_that_of_one_data_set(real, in_empty_folder):
    folder = shutil.copytree(real[0], "study")
    shutil.copytree(real[0].parents[2] / "data", "data")
    refused = program("finalize", str(folder), cwd=in_empty_folder)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        "trainer: study: has several data sets, whose scores cannot be compared, so that there is no best arm over all"
        " of them. Name one with --block. Accepted: digits, arrays\n"
    )
    with pytest.raises(ConfigError, match=r"^--block=mnist: study has no such part. Accepted: digits, arrays$"):
        winner_of(Path(folder), "mnist")
    winner = winner_of(Path(folder), "arrays")
    assert winner.config["dataset"]["name"] == "arrays" and winner.tried == (2, 6)
    done = program("finalize", str(folder), "--block", "arrays", "--seeds", "1", cwd=in_empty_folder)
    assert done.returncode == 0, done.stderr
    card = json.loads(Path(folder, "finalize-arrays.json").read_text())
    assert "--block arrays" in card["finalize_command"] and Path(folder, "card-arrays.md").is_file()
    assert not Path(folder, "finalize.json").exists()


def test_runs_of_different_data_sets_are_blocks_in_a_comparison_too(real, in_empty_folder):
    runs = [str(path.parent) for path in sorted(real[0].glob("*/result.json"))]
    refused = program("compare", *runs, cwd=in_empty_folder)
    assert refused.returncode == 2 and "To compare them nevertheless: --other-images" in refused.stderr
    done = program("compare", *runs, "--other-images", cwd=in_empty_folder, COLUMNS="200")
    assert done.returncode == 0, done.stderr
    told = [line.partition(":")[0] for line in done.stdout.splitlines() if line.startswith(("digits: ", "arrays: "))]
    assert set(told) == {"digits", "arrays"} and "dataset=digits against" not in done.stdout
    assert "is better than dataset=" not in done.stdout


def test_arms_within_a_block_are_named_without_it(two_blocks):
    results = results_of(Manifest.read(two_blocks))
    assert [block.name for block in results.blocks] == ["dataset.classes=2", "dataset.classes=4"]
    assert [arm.name for block in results.blocks for arm in block.results.arms] == ["sgd", "adam"] * 2
    assert [arm.name for arm in results.arms][:1] == ["dataset.classes=2 optimizer=sgd"]
    lines = verdict(results).lines()
    assert lines[0].startswith("dataset.classes=2: adam is better than sgd by ")
    assert lines[2].startswith("adam is better than sgd on 2 of 2 blocks, by ")


def test_a_baseline_is_named_without_the_block(two_blocks):
    results = results_of(Manifest.read(two_blocks))
    named = verdict(results, "adam")
    assert named.baseline == "adam" and named.lines()[0].startswith("dataset.classes=2: sgd is worse than adam by ")
    with pytest.raises(ConfigError, match=r"^--baseline=rmsprop: the study has no such arm. Accepted: sgd, adam$"):
        verdict(results, "rmsprop")


def test_an_expectation_is_answered_over_all_blocks(two_blocks):
    content = of_study(two_blocks)
    (met, opposite) = answers(content, ["adam > sgd", "sgd > adam"])
    assert (met.code, opposite.code) == (0, 4)
    assert met.sentence.startswith("Expected adam > sgd: concluded. adam is better than sgd on 2 of 2 blocks, by ")
    with pytest.raises(ConfigError, match=r"the study has no such arm. Accepted: adam, sgd$"):
        answers(content, ["dataset.classes=2 optimizer=sgd > adam"])


@pytest.mark.parametrize(
    ("axis", "blocks"),
    [("dataset.classes", 2), ("dataset.validation_size", 2), ("lr", 0), ("dataset.train_size", 0)],
)
def test_only_what_decides_the_images_makes_blocks(axis, blocks, in_empty_folder):
    study = Manifest.read(fake_study(Path("made"), {axis: ["20", "30"]}))
    assert len(blocks_of(study)) == blocks


def test_a_study_of_data_sets_alone_compares_nothing(in_empty_folder):
    study = fake_study(Path("made"), {"dataset.classes": ["2", "4", "6"]}, seeds=(0, 1, 2))
    judged = verdict(results_of(Manifest.read(study)))
    assert judged.lines() == [
        "Nothing to compare: scores on dataset.classes=2, dataset.classes=4 and dataset.classes=6 do not measure the"
        " same, and each has one arm only. Give another setting several values, as in optimizer=sgd,adam"
    ]


def named_blocks(folder, *keys):
    path = Path(folder, "study.json")
    tree = json.loads(path.read_text())
    tree["sweep"]["blocks"] = list(keys)
    path.write_text(json.dumps(tree))
    return results_of(Manifest.read(folder))


def test_a_setting_that_is_named_makes_blocks(in_empty_folder):
    study = fake_study(Path("made"), {"model": ["mlp", "cnn"], "optimizer": ["sgd", "adam"]}, seeds=(0, 1, 2))
    assert results_of(Manifest.read(study)).blocks == ()
    results = named_blocks(study, "model")
    assert [(block.name, block.noun) for block in results.blocks] == [("mlp", "model"), ("cnn", "model")]
    assert verdict(results).lines()[2].startswith("adam is better than sgd on 2 of 2 models, by ")


def test_arms_of_several_settings_lose_the_words_of_their_block(in_empty_folder):
    settings = ("dataset.classes=2 lr=0.1", "dataset.classes=2 lr=0.2", "dataset.classes=4 lr=0.1")
    study = fake_study(Path("made"), {"arm": [*settings]}, seeds=(0, 1, 2))
    tree = json.loads(Path(study, "study.json").read_text())
    for entry in tree["runs"]:
        entry["config"] |= dict(word.split("=") for word in entry["point"]["arm"].split(" "))
    tree["labels"] = {settings[0]: "slow", settings[2]: "slow"}
    Path(study, "study.json").write_text(json.dumps(tree))
    results = results_of(Manifest.read(study))
    assert [[arm.name for arm in block.results.arms] for block in results.blocks] == [["slow", "lr=0.2"], ["slow"]]


REFUSED = {
    "no axis": (
        ("optimizer=sgd,adam", "sweep.blocks=model"),
        "sweep.blocks=model: is no setting that the study varies. Accepted: optimizer",
    ),
    "nothing left": (
        ("optimizer=sgd,adam", "sweep.blocks=optimizer"),
        "sweep.blocks=optimizer: leaves nothing to compare within a block: give another setting several values, or"
        " leave sweep.blocks out",
    ),
    "a search over data sets": (
        ("dataset.classes=2,4", "lr=interval(0.01,0.1)", "sweep.method=random"),
        "sweep.method=random: scores at dataset.classes=2 and at dataset.classes=4 cannot be compared, so that"
        " nothing can be chosen between them while the study runs: give each one a command of its own",
    ),
    "looks at data sets": (
        ("dataset.classes=2,4", "optimizer=sgd,adam", "sweep.until=decided"),
        "sweep.until=decided: scores at dataset.classes=2 and at dataset.classes=4 cannot be compared, so that nothing"
        " can be chosen between them while the study runs: give each one a command of its own",
    ),
    "a baseline with its block": (
        ("dataset.classes=2,4", "optimizer=sgd,adam", "sweep.baseline=dataset.classes=2 optimizer=sgd"),
        "sweep.baseline=dataset.classes=2 optimizer=sgd: the study has no such arm. Accepted: sgd, adam",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_blocks_that_cannot_be_are_refused_before_anything_is_written(case, in_empty_folder):
    arguments, message = REFUSED[case]
    with pytest.raises(ConfigError) as raised:
        compose(["-m", "dataset=digits", *arguments])
    assert str(raised.value) == message and not list(in_empty_folder.iterdir())


def test_blocks_are_named_by_a_setting_or_a_list():
    assert (
        len(compose(["-m", "dataset=digits", "model=mlp,resnet9", "optimizer=sgd,adam", "sweep.blocks=[model]"])) == 4
    )
