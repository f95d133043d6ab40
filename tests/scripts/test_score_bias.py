"""`scripts/score_bias.py` from a run to its table."""

import importlib.util
import re

import pytest
from conftest import ROOT


@pytest.mark.long
def test_the_table_has_a_row_for_each_rule(capsys):
    spec = importlib.util.spec_from_file_location("score_bias", ROOT / "scripts" / "score_bias.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main(["--runs=2", "--sizes", "50"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 50 |")]
    assert [re.split(r" \| ", row)[1] for row in rows] == ["best", "cross", "last", "mean:5"]
    assert all(re.fullmatch(r"\| 50 \| \S+( \| [+-]\d+\.\d\d ± \d+\.\d\d){3} \| \d+\.\d\d \|", row) for row in rows)
