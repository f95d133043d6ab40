"""Records that know when they are damaged: every flipped bit of every record is seen, or changes nothing."""

import json
from pathlib import Path

import pytest
import yaml
from conftest import QUICK, TINY
from fake_studies import fake_study

from trainer.cli import clean, export
from trainer.cli.main import main
from trainer.errors import ConfigError, RunError
from trainer.records.metrics import intact_metrics, read_metrics
from trainer.records.outcome import Outcome, read_outcome, write_outcome
from trainer.storage.checksums import unchecked, with_checksum, without_checksum, write_record
from trainer.storage.untrusted import read_config, read_json, whole_lines

TREES = [{"a": 1}, {"a": [{"b": {}}]}, [{"a": {}}, {"b": [[]]}], {"x": '"}\n]}', "é": None}]


def flips(content):
    """Every content with one bit changed."""
    for place in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            yield bytes(changed)


@pytest.mark.parametrize("indent", [None, 1, 2])
@pytest.mark.parametrize("tree", TREES, ids=str)
def test_json_gets_its_checksum_as_the_last_entry_and_gives_it_back(tree, indent):
    text = json.dumps(tree, indent=indent, ensure_ascii=False) + "\n"
    sealed = with_checksum(text)
    last = json.loads(sealed)[-1] if isinstance(tree, list) else json.loads(sealed)
    assert list(last)[-1] == "checksum" and without_checksum(sealed) == text == without_checksum(text)


@pytest.mark.parametrize("name", ["record.json", "record.yaml"])
def test_no_flipped_bit_of_a_record_is_read_as_something_else(name, tmp_path):
    path, tree = tmp_path / name, {"lr": 0.125, "seeds": [0, 1], "name": "checksum", "optimizer": {"eps": 1e-08}}
    write_record(path, yaml.safe_dump(tree) if path.suffix == ".yaml" else json.dumps(tree, indent=1))
    read = read_config if path.suffix == ".yaml" else read_json
    content, refused = path.read_bytes(), 0
    assert read(path) == tree
    for changed in flips(content):
        path.write_bytes(changed)
        try:
            assert read(path) == tree
        except (ValueError, ConfigError):
            refused += 1
    assert refused > 0.9 * 8 * len(content)


def test_no_flipped_bit_of_an_outcome_is_another_outcome(tmp_path):
    outcome = Outcome("finished", epochs=3, best_epoch=2, validation_accuracy=0.75, further={"validation_f1": 0.5})
    write_outcome(tmp_path, outcome)
    path = tmp_path / "result.json"
    for changed in flips(path.read_bytes()):
        path.write_bytes(changed)
        try:
            assert read_outcome(tmp_path) == outcome
        except RunError as error:
            assert str(error).endswith("result.json is damaged. Remove it: the run then continues from its last epoch")


ROWS = [{"epoch": epoch, "train_loss": 1.5 / epoch, "validation_loss": 2.25 / epoch} for epoch in (1, 2, 3)]
LINES = "".join(with_checksum(json.dumps(row)) + "\n" for row in ROWS)


def test_a_damaged_line_of_metrics_is_named_and_the_others_are_used(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(LINES)
    whole = read_metrics(tmp_path)
    assert [row["epoch"] for row in whole] == [1, 2, 3]
    for changed in flips(LINES.encode()):
        path.write_bytes(changed)
        rows, damaged = intact_metrics(tmp_path)
        assert [row for row in whole if row in rows] == rows and (damaged or rows == whole)
    path.write_text(LINES.replace("1.125", "1.126"))
    assert intact_metrics(tmp_path) == ([whole[0], whole[2]], (2,))
    with pytest.raises(RunError, match=r"metrics.jsonl, line 2 is damaged$"):
        read_metrics(tmp_path)
    path.write_text(LINES.replace("loss", "lass"))
    with pytest.raises(RunError, match=r"metrics.jsonl, lines 1, 2, 3 are damaged$"):
        read_metrics(tmp_path)


def test_a_line_that_is_being_written_is_no_damage(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for end in range(len(LINES)):
        path.write_text(LINES[:end])
        assert len(read_metrics(tmp_path)) == LINES[:end].count("\n")
        assert len(list(whole_lines(path))) == LINES[:end].count("\n")


def test_records_of_an_earlier_version_are_read(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in ROWS[:2]) + LINES.splitlines()[-1] + "\n"
    )
    (tmp_path / "result.json").write_text('{"state": "finished"}')
    (tmp_path / "config.yaml").write_text("epochs: 3\n")
    assert [row["epoch"] for row in read_metrics(tmp_path)] == [1, 2, 3]
    assert read_outcome(tmp_path).state == "finished" and read_config(tmp_path / "config.yaml") == {"epochs": 3}
    assert unchecked(tmp_path) == ["config.yaml", "result.json"]  # as `trainer show` says


def test_a_table_and_the_cleaning_tell_what_is_damaged(in_empty_folder, capsys):
    study = fake_study(Path("study"), {"lr": ["0.1", "0.01"]})
    path = study / "run-0" / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], lines[2].replace("epoch", "epach"), *lines[3:]]))
    (study / "run-1" / "hits.json").write_text('{"images": 1')
    assert export.main(["study", "--epochs", "epochs.csv"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "trainer: warning: study/run-0/metrics.jsonl, line 3 is damaged: what it holds is left out" in told
    assert "trainer: warning: study/run-1/hits.json is damaged (" in told
    written = sum(len((run / "metrics.jsonl").read_text().splitlines()) for run in study.glob("run-*"))
    assert len(Path("epochs.csv").read_text().splitlines()) == 1 + written - 1
    (study / "run-1" / "result.json").write_text("{")
    assert clean.main(["study", "--dry-run"]) == 0
    assert "study/run-1/result.json is damaged. Remove it" in " ".join(capsys.readouterr().err.split())


def test_an_edited_configuration_is_told_with_the_way_to_accept_it(tmp_path):
    path = tmp_path / "config.yaml"
    write_record(path, "epochs: 3\nlr: 0.1\n")
    text = path.read_text()
    for edited in (text.replace("0.1", "0.2"), text + "seed: 1\n", "seed: 1\n" + text):
        path.write_text(edited)
        with pytest.raises(ConfigError) as caught:
            read_config(path)
        assert str(caught.value) == (
            f"{path}: it was edited by hand, or is damaged: its checksum does not match. To accept it as it stands,"
            " remove the line of the checksum, its last one"
        )
        path.write_text("".join(line for line in edited.splitlines(keepends=True) if "checksum" not in line))
        assert read_config(path)["epochs"] == 3


def test_a_record_of_an_earlier_version_is_told_where_it_is_shown_reported_and_continued(in_empty_folder, capsys):
    assert main([*QUICK, *TINY, "output_dir=run"]) == 0
    config = Path("run/config.yaml")
    config.write_text(config.read_text().partition("# checksum")[0])
    capsys.readouterr()
    assert main(["report", "run"]) == 0
    assert "1 record of an earlier version, or edited by hand: damage to them is not noticed" in (
        Path("run/report.md").read_text()
    )
    assert main(["resume=run", "epochs=3"]) == 0
    told = "Note: config.yaml in run without checksum, of an earlier version or edited by hand"
    assert told in capsys.readouterr().out
