"""The learning-rate range test: rates, suggestion, output, figure and errors."""

import math
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from conftest import compose, program, sync_playwright
from torch.nn import functional as F

from trainer.cli import find_lr
from trainer.data.loader import load
from trainer.errors import ConfigError, RunError
from trainer.training.build import build_trainer
from trainer.training.lr_range_test import Range, measure

TINY = ("dataset=digits", "model=mlp", "model.hidden=[32]", "dataset.image_size=16", "device=cpu")


def test_the_suggestion_lies_between_the_steepest_rate_and_a_tenth_of_the_lowest_loss():
    found = Range((1e-4, 1e-3, 1e-2, 0.123, 1.0), (2.3, 2.2, 1.0, 0.9, 9.0), (2.3, 2.2, 1.5, 1.2, 3.0))
    assert found.steepest == 1e-3  # from there to the next step it falls by 0.7
    assert (found.lowest, found.suggestion) == (3, 0.0035)  # √(0.001 · 0.0123)
    assert found.bounds == (0.0018, 0.007)  # half of it and twice as much, to two digits: the lower a quarter


def test_the_rates_rise_geometrically_and_each_loss_is_that_of_the_trainers_step():
    (run,) = compose([*TINY, "optimizer=sgd"])
    found = measure(run, 40, 1e-5, 0.1)
    assert len(found.rates) == 40
    factors = [after / before for before, after in zip(found.rates, found.rates[1:], strict=False)]
    assert found.rates[0] == 1e-5
    assert factors == pytest.approx([1e4 ** (1 / 39)] * 39)
    images = load(run.dataset, Path(run.data_dir), torch.device("cpu"))
    training, _ = run.dataset.shared_function()(images, run.split_seed)
    trainer = build_trainer(run, training, None, torch.device("cpu"))
    batches = list(map(trainer.train.at, trainer.train.positions(run.seed, 0)))  # the second epoch begins with step 20
    for step in range(3):
        for group in trainer.optimizer.param_groups:
            group["lr"] = found.rates[step]
        loss = F.cross_entropy(trainer.model(batches[step][0]), batches[step][1])
        assert found.losses[step] == pytest.approx(loss.item(), abs=1e-6)
        trainer.optimizer.zero_grad()
        loss.backward()
        trainer.optimizer.step()
    mean = (0.09 * found.losses[0] + 0.1 * found.losses[1]) / 0.19
    assert found.smoothed[1] == pytest.approx(mean)


def test_it_ends_where_the_loss_diverges():
    (run,) = compose([*TINY, "optimizer=sgd", "activation=leaky_relu"])
    found = measure(run, 60, 1e-4, 1e4)
    assert len(found.rates) < 60
    assert found.rates[-1] < 1e4
    assert all(map(math.isfinite, found.losses))


@pytest.mark.parametrize(
    ("optimizer", "low", "high"), [("adam", 5e-4, 2e-2), ("sgd", 0.01, 0.3), ("momentum", 1e-3, 0.05)]
)
def test_the_suggestion_is_of_the_right_magnitude(optimizer, low, high):
    (run,) = compose([*TINY, f"optimizer={optimizer}"])
    assert low < measure(run, 100, 1e-7, 10).suggestion < high


def test_the_command_prints_a_command_that_runs_and_leaves_only_a_figure(in_empty_folder):
    done = program("find-lr", *TINY, "lr=3", "steps=40", "from=1e-3", "to=0.4", cwd=in_empty_folder)
    assert (done.returncode, done.stderr) == (0, "")
    (suggested,) = re.findall(r"Suggestion +lr=(\S+), half-way between", done.stdout)
    again = f"python -m trainer {' '.join(TINY)} lr={suggested}".replace("model.hidden=[32]", "'model.hidden=[32]'")
    assert f"To try it            {again}\n" in done.stdout
    low, high = float(f"{float(suggested) / 2:.1e}"), float(f"{2 * float(suggested):.1e}")
    again = again.rpartition(" ")[0]
    assert f"In cycles            {again} scheduler=cyclic scheduler.min_lr={low:g} lr={high:g}\n" in done.stdout
    assert f"In one cycle         {again} scheduler=one_cycle lr={high:g}\n" in done.stdout
    (figure,) = in_empty_folder.rglob("*.*")
    assert figure.parent == in_empty_folder / "outputs" / "figures"
    page = figure.read_text()
    assert f"lr={suggested}" in page
    markup = re.sub(r"<script>.*?</script>", "", page, count=1, flags=re.DOTALL)  # plotly's own
    assert len(page) - len(markup) > 3e6
    assert not re.findall(r"""https?:|\bsrc=|<link|@import|url\(|fetch\(""", markup)  # it needs no network
    if shutil.which("chromium"):
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            view = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
            fetched: list[str] = []
            view.on("request", lambda request: fetched.append(request.url))
            view.goto(figure.as_uri())
            view.wait_for_function("document.getElementById('range').data")
            assert view.evaluate("document.documentElement.scrollWidth") == 390
            assert view.evaluate("document.getElementById('range')._fullLayout.font.color") == "#e8eaed"  # the dark ink
            assert fetched == [figure.as_uri()]
            browser.close()


def test_the_cycles_replace_the_schedule_and_leave_out_a_momentum_that_the_optimizer_has_not(capsys):
    given = (*TINY, "optimizer=sgd", "scheduler=step", "scheduler.gamma=0.5", "steps=40", "from=1e-3", "to=0.4")
    find_lr.main(given)
    told = capsys.readouterr().out
    assert "scheduler=step scheduler.gamma=0.5 lr=" in re.findall(r"To try it +(.*)", told)[0]
    typed = re.findall(r"In (?:cycles|one cycle) +python -m trainer (.*)", told)
    assert len(typed) == 2 and "scheduler.cycle_momentum=false" in typed[1]
    runs = [compose(shlex.split(each))[0] for each in typed]  # and they are accepted
    assert [run.scheduler.name for run in runs] == ["cyclic", "one_cycle"]


def test_mistakes_are_one_line():
    for arguments, sentence in (
        (["optimizer=adm"], r"optimizer=adm (command line): there is no such optimizer. Did you mean adam?"),
        (["from=1", "to=0.1"], "from=1: must be below to=0.1"),
        (["from=none"], "from=none: must be a number above 0"),
        (["steps=60"], "steps=60: from 1e-07 to 10 at least 120 are needed, 15 each time that the rate grows tenfold;"),
        (["steps=19", "from=0.1", "to=1"], "steps=19: must be at least 20, as the loss is averaged over ten steps"),
        (["from=1e-308"], "steps=150: from 1e-308 to 10 at least 4635 are needed, 15 each time that the rate grows"),
        (["-m", "lr=1,2"], "-m: there is no such option."),
        (["lr=1,2"], "lr=1,2 (command line): several values need -m"),
    ):
        with pytest.raises(ConfigError) as caught:
            find_lr.main(arguments)
        assert str(caught.value).startswith(sentence)
    with pytest.raises(RunError, match=r"^the loss falls at no rate from 1e-07 to 10: the initial weights or the data"):
        find_lr.main([*TINY, "init=zeros"])
    assert not Path("outputs").exists()


def test_the_suggestion_is_printed_if_the_figure_cannot_be_written(capsys):
    Path("outputs").write_text("")
    with pytest.raises(RunError, match=r"^outputs/figures cannot be created: File exists$"):
        find_lr.main([*TINY, "steps=40", "from=1e-3", "to=0.4"])
    assert "\n  To try it            python -m trainer dataset=digits " in capsys.readouterr().out
