"""A study of an experiment ends with the verdicts on the claims that name it."""

import pytest
import yaml
from conftest import quickly

from trainer.cli.main import main
from trainer.lecture.claim import claim_files, read_claim
from trainer.lecture.ending import claims_on
from trainer.lecture.selection import Settings
from trainer.study.plan import plain, plan_from

CLAIM = {
    "note": "004",
    "line": 999,
    "title": "Batch normalization is more accurate",
    "claim": "It is more accurate.",
    "study": "normalization=none,batch",
    "experiments": ["normalization"],
    "budgets": {"quick": {}},
    "statements": [{"says": "More.", "measure": "score", "arms": ["normalization=batch", "normalization=none"]}],
    "next": "Try more epochs.",
}


def test_an_experiment_ends_with_the_verdict_on_its_claim(tmp_path, capsys):
    folder = tmp_path / "mine" / "claim"
    folder.mkdir(parents=True)
    (folder / "more_accurate.yaml").write_text(yaml.safe_dump(CLAIM), encoding="utf-8")
    other = {**CLAIM, "statements": [{**CLAIM["statements"][0], "arms": ["normalization=group"], "against": 10}]}
    (folder / "of_other_arms.yaml").write_text(yaml.safe_dump(other), encoding="utf-8")
    words = quickly("dataset=digits", "experiment=normalization", "seed=0,1,2", "model=mlp", "epochs=1")
    assert main(["-m", f"--config-dir={tmp_path / 'mine'}", *words]) == 0
    out = capsys.readouterr().out
    assert "Claim (004:999): Batch normalization is more accurate: " in out
    assert "3 seeds an arm)" in out.partition("Claim (004:999)")[2]
    assert out.count("Claim (004:999)") == 1


@pytest.mark.parametrize("name", claim_files())
def test_the_experiments_of_a_claim_have_its_arms(name):
    claim = read_claim(claim_files()[name])
    for experiment in claim.experiments:
        assert claim in list(claims_on(experiment))
        found = plan_from(["-m", f"experiment={experiment}", "dataset=digits"])
        settings = [Settings.of(run.config.tree(), plain(run.point), found.sweep.labels) for run in found.runs]
        for statement in claim.statements:
            assert all(any(each.fits(arm) for each in settings) for arm in statement.arms)
