"""`sweep.until=decided`: seeds are trained look by look, a stopped study takes the same looks, the verdict says how."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import interpret
from test_study import TINY, study, table

from trainer.cli.report import main as report
from trainer.cli.study import main as study_command
from trainer.errors import ConfigError, RunError
from trainer.records.outcome import Outcome, read_outcome, write_outcome
from trainer.stats.design import Design
from trainer.stats.method import method_text
from trainer.study import launch
from trainer.study.judging import verdict
from trainer.study.looks import replay, take
from trainer.study.manifest import Entry, Manifest
from trainer.study.results import StudyArm, StudyResults, results_of
from trainer.study.taken_looks import Until
from trainer.study.winner import winner_of

UNTIL = ("sweep.until=decided", "sweep.max_seeds=8")
RATES = (*TINY, "epochs=1", "lr=0.03,0.01,0.0001", *UNTIL)


def looks(folder):
    return json.loads((folder / "study.json").read_text())["looks"]


@pytest.fixture(scope="module")
def decided(tmp_path_factory):
    """A study of three rates until it is decided, which is not changed by the tests."""
    place = tmp_path_factory.mktemp("decided")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        code, folder = study(*RATES)
    assert code == 0
    return place / folder


@pytest.fixture
def copied(decided, in_empty_folder):
    shutil.copytree(decided.parent.parent.parent, in_empty_folder, dirs_exist_ok=True)
    return in_empty_folder / decided.relative_to(decided.parent.parent.parent)


def values(gap, seeds, place):
    """Return the values of an arm, by seed: its mean lies `gap` points below 90 %, its seeds vary by about a point."""
    wave = [0.01 * ((7 * seed + 5 * place) % 11 - 5) / 3 for seed in range(seeds)]
    return {str(seed): 0.9 - gap / 100 + wave[seed] for seed in range(seeds)}


def made(arms, maximum=24, margin=None, baseline=None, repeats=1):
    """The results of a study with these values of its arms after all looks that it needs."""
    found = []
    for name, each in arms.items():
        entry = Entry(name, "", "", {"optimizer": name}, {}, {})
        found.append(StudyArm(name, each, (entry,), (Outcome(),), {key: Path("none") for key in each}))
    until = Until(maximum, (3, 4, 6, 8, 12, 16, 24, 32, 48), (), repeats)
    results = StudyResults(Design(margin=margin), tuple(found), baseline=baseline, until=until)
    for number in range(len(until.counts)):
        _, record = take(results, replay(results).left, until.counts, number)
        taken = Until(maximum, until.looks, (*results.until.taken, record), repeats)
        results = StudyResults(results.design, results.arms, baseline=baseline, until=taken)
        if record.outcome:
            break
    return results


def test_seeds_are_trained_until_one_arm_is_left(decided):
    taken, rows = looks(decided), table(decided)
    assert [look["n"] for look in taken] == [3, 4, 6, 8][: len(taken)]
    assert taken[-1]["outcome"] == "decided" and all(look["outcome"] == "" for look in taken[:-1])
    dropped = {arm: look["n"] for look in taken for arm in look["dropped"]}
    assert dropped.keys() == {"lr=0.01", "lr=0.0001"} and dropped["lr=0.0001"] < 8
    for lr in ("0.03", "0.01", "0.0001"):
        seeds = dropped.get(f"lr={lr}", taken[-1]["n"])
        assert [row["seed"] for row in rows if row["lr"] == lr] == [str(seed) for seed in range(seeds)]
    assert winner_of(decided).arm.name == "lr=0.03"
    judged = verdict(results_of(Manifest.read(decided)))
    assert (judged.winner, judged.reference, judged.open) == ("lr=0.03", "lr=0.03", False)
    start = f"lr=0.0001 was dropped at {dropped['lr=0.0001']} seeds (limit for p at this look: "
    assert any(line.startswith(start) for line in judged.lines())
    (finding,) = judged.findings
    assert finding.sentence.endswith(
        f"False alarms: at most 5 % over all arms and all 4 looks. {len(rows)} of 24 runs were trained"
    )
    assert finding.figures["left"] == ["lr=0.03"]
    text = method_text(judged, results_of(Manifest.read(decided)).arms)
    assert "to at most 8: they were compared at 3, 4, 6 and 8 seeds, and those told apart got no more" in text


@pytest.mark.long
def test_a_study_that_is_killed_takes_the_same_looks(decided, monkeypatch):
    work, left = launch.work, [0]

    def killed(folder):
        left[0] -= 1
        if left[0] < 0:
            raise SystemExit("killed")
        work(folder)

    monkeypatch.setattr(launch, "work", killed)
    kills = 0
    while True:
        left[0] = 6
        try:
            code, folder = study(*RATES)
            break
        except SystemExit:
            kills += 1
    assert (code, kills) == (0, (len(table(decided)) - 1) // 6)
    assert looks(folder) == looks(decided)
    assert (folder / "table.csv").read_text() == (decided / "table.csv").read_text()


def test_a_raised_maximum_is_told(capsys, in_empty_folder):
    near = (*TINY, "epochs=1", "weight_decay=0,1e-9", "sweep.until=decided")
    code, folder = study(*near, "sweep.max_seeds=3")
    assert code == 0 and [look["outcome"] for look in looks(folder)] == ["maximum"]
    assert "Not decided at 3 seeds, the maximum: " in capsys.readouterr().out
    assert winner_of(folder).tried == (2, 6)
    assert study_command([str(folder), "add", "sweep.max_seeds=4"]) == 0
    out = capsys.readouterr().out
    assert "The maximum was raised after looking, from 3 to 4 seeds: at most 10 %, not 5 %. 8 of 8 runs" in out
    assert [(look["n"], look["maximum"]) for look in looks(folder)] == [(3, 3), (4, 4)]
    with pytest.raises(ConfigError, match=r"sweep.max_seeds=3: .* was looked at with a maximum of 4. Give 4 or more"):
        study(*near, "sweep.max_seeds=3")
    with pytest.raises(ConfigError, match=r"add seed=7: sweep.until=decided fixes the arms, and chooses the seeds"):
        study_command([str(folder), "add", "seed=7"])
    with pytest.raises(ConfigError, match=r"drop weight_decay=0: sweep.until=decided has looked at all arms together"):
        study_command([str(folder), "drop", "weight_decay=0", "--yes"])

    changed = next(folder.glob("*seed-2*"))
    other = {"validation_accuracy": 0.5, "validation_loss": 1.0}
    write_outcome(changed, replace(read_outcome(changed), scores={"cross": other, "last": other}))
    with pytest.raises(
        RunError, match=r"the results of the look at 3 seeds are not those that were looked at, so that"
    ):
        study(*near, "sweep.max_seeds=6")
    lines = verdict(results_of(Manifest.read(folder))).lines()
    assert "The results of the look at 3 seeds are not those that were looked at: its level does not" in " ".join(lines)


def test_failed_runs_are_not_replaced_and_folds_are_averaged(capsys):
    arguments = (
        *TINY, "epochs=1", "lr=0.05,1e30,1e-05", "dataset.folds=2", "dataset.fold=0,1", "sweep.until=decided",
        "sweep.max_seeds=4", "sweep.baseline=lr=1e-05",
    )  # fmt: skip
    code, folder = study(*arguments)
    assert code == 1
    assert looks(folder)[0]["dropped"] == {"lr=0.05": "better", "lr=1e+30": "no run finished"}
    out = capsys.readouterr().out
    assert "Look 1 of 2 at 3 seeds (level 0.027): lr=0.05, lr=1e+30 dropped. Decided after 3 seeds: every other" in out
    assert "lr=1e+30 was dropped at 3 seeds: none of its runs finished" in out
    told = "lr=0.05 was told apart at 3 seeds (limit for p at this look: 0.027): lr=0.05 is better than lr=1e-05 by"
    assert told in out
    assert winner_of(folder).arm.name == "lr=0.05"
    before = {path: path.read_text() for path in folder.glob("*/result.json")}
    assert study(*arguments)[0] == 1 and len(before) == 18
    assert {path: path.read_text() for path in folder.glob("*/result.json")} == before
    assert study_command([str(folder)]) == 0
    with pytest.raises(ConfigError, match=r"--baseline=lr=0.05: the looks of sweep.until=decided have compared other"):
        report([str(folder), "--baseline=lr=0.05"])


def test_a_dry_run_tells_the_runs_to_expect(capsys, in_empty_folder):
    code = interpret(["-m", *RATES, "sweep.dry_run=true"])
    from trainer.study.execute import run_study

    assert run_study(code).exit_code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].startswith("At most 24 runs, at most ")
    assert lines[4] == "Looks at 3, 4, 6, 8 seeds. Runs to expect if one arm differs from all others:"
    assert [line.split(":")[0] for line in lines[5:8]] == [
        "  by 0.5 standard deviations between seeds", "  by 1 standard deviation between seeds",
        "  by 2 standard deviations between seeds",
    ]  # fmt: skip
    assert not (in_empty_folder / "outputs").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("lr=0.1,0.2 seed=0,1", "seed together with sweep.until=decided: leave seed out, as the seeds are 0, 1, 2, …"),
        ("lr=0.1,0.2 seed=3", "seed together with sweep.until=decided: leave seed out"),
        ("lr=0.1", "sweep.until=decided compares arms: give a setting several values, such as optimizer=sgd,adam"),
        ("lr=0.1,0.2 sweep.max_seeds=2", "sweep.max_seeds=2 (command line): must be a whole number of at least 3"),
        ("lr=0.1,0.2 sweep.looks=[6,3]", "sweep.looks=[6, 3] (command line): must rise, as [3,6,12]"),
        (
            "lr=interval(0.1,0.2) sweep.method=tpe",
            "sweep.until=decided needs sweep.method=grid: tpe chooses other points as it goes on",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(arguments, told):
    with pytest.raises(ConfigError) as caught:
        interpret(["-m", *TINY, "sweep.until=decided", *arguments.split()])
    assert str(caught.value).startswith(told)


def test_another_margin_is_another_study_and_takes_the_runs_over(copied):
    code, folder = study(*RATES, "sweep.margin=0.5")
    assert code == 0 and folder.name != copied.name
    assert looks(folder)[-1]["outcome"] == "alike" and len(looks(folder)) == 2
    assert all(entry.source for entry in Manifest.read(folder).entries)


def test_the_sentences_of_each_end():
    def last(arms, **settings):
        return verdict(made(arms, **settings)).findings[0].sentence

    near = {"a": values(0, 48, 1), "b": values(0.02, 48, 2), "c": values(30, 48, 3)}
    assert last(near, maximum=6).startswith("Not decided at 6 seeds, the maximum: b and a remain. False alarms: at")
    assert last(near).startswith(
        "Given up at 12 seeds, with b and a left: a difference of this size would not be told by 24."
    )
    alike = last(near, margin=0.03)
    assert alike.startswith("No difference that matters: the 2 remaining arms are within 3.0 points of each other (")
    against = last(near, margin=0.03, baseline="b")
    assert against.startswith("No difference that matters: a is within 3.0 points of b (")
    assert last({"a": values(0, 48, 1), "c": values(30, 48, 3)}).startswith(
        "Decided after 3 seeds: a is better than all others. It ended before"
    )


def test_an_arm_with_a_failed_seed_cannot_win():
    lost = {key: value for key, value in values(0, 24, 1).items() if key != "2"}
    found = verdict(made({"a": lost, "b": values(1, 24, 2), "c": values(30, 24, 3)}, maximum=6))
    assert found.reasons == ("a lost 1 of its 6 seeds: it is not compared seed by seed, and it cannot win",)
    assert (found.reference, found.winner) == ("b", "")


@pytest.mark.long
def test_parallel_workers_train_the_batch_of_a_look(decided):
    code, folder = study(*RATES, "hydra/launcher=joblib")
    assert code == 0 and looks(folder) == looks(decided)


@pytest.mark.long
def test_jobs_of_submitit_train_the_batch_of_a_look(decided):
    """One look is enough, as each run is a process of its own."""
    code, folder = study(*RATES[:-1], "sweep.max_seeds=3", "hydra/launcher=submitit_local")
    (taken,), first = looks(folder), looks(decided)[0]
    assert code == 0 and (taken["n"], taken["digest"]) == (first["n"], first["digest"]) == (3, first["digest"])


def test_a_script_asks_what_the_looks_have_told(decided, capsys):
    asked = {"lr=0.03 > lr=0.0001": 0, "lr=0.01 > lr=0.03": 4, "lr=0.01 > lr=0.0001": 3}
    assert {text: report([str(decided), "--expect", text]) for text in asked} == asked
    assert "no conclusion. No look has compared the two with each other" in capsys.readouterr().out


@pytest.mark.long
def test_runs_that_train_at_once_make_the_same_looks(decided):
    code, folder = study(*RATES, "sweep.concurrent=3")
    assert code == 0 and looks(folder) == looks(decided)
