"""`--help WORD`: what can be set in a group, an option or a setting, as it is typed."""

import pytest
from conftest import NEEDED, ROOT, compose, interpret

from trainer.cli.help import show
from trainer.cli.main import main
from trainer.config.compose import as_forced_override
from trainer.config.help import option_files, root_settings, sections
from trainer.config.schema import GROUPS, shared_parameters, techniques

OPTIONS = [(group, name) for group in GROUPS for name in option_files(group)]


@pytest.fixture(scope="module")
def plan():
    """Return a plan, which composes a run in a thousandth of the time of a command line."""
    return interpret(["-m", "dataset=digits", "seed=0,1"])


@pytest.mark.parametrize(("group", "name"), OPTIONS, ids=str)
def test_every_setting_of_an_option_is_shown_as_it_is_typed(group, name, plan):
    """Each with its default, which changes nothing where it is typed."""
    (section,) = sections(f"{group}={name}")
    chosen = [as_forced_override(each) for each in (f"{group}={name}", *NEEDED.get(name, []))]
    before = plan.sweep.compose(chosen).checked()
    typed = [as_forced_override(f"{each.name}={each.default}") for each in section.settings]
    assert plan.sweep.compose([*chosen, *typed]).checked() == before
    prefix = f"{group}.{name}" if GROUPS[group].listed else group
    all_of_it = {*techniques(group).get(name, ()), *shared_parameters(group)}
    assert {each.name for each in section.settings} >= {f"{prefix}.{key}" for key in all_of_it}
    assert all(each.accepted for each in section.settings) and section.notes


def test_every_setting_of_the_root_is_shown_as_it_is_typed(plan):
    rows = [each for each in root_settings() if each.name.partition(".")[0] not in ("sweep", "retrain")]
    typed = [as_forced_override(f"{each.name}={each.default}") for each in rows]
    assert plan.sweep.compose(typed).checked() == plan.sweep.compose(["batch_size=2048"]).checked()


def printed(capsys, *arguments):
    show(["--help", *arguments])
    return capsys.readouterr().out


def test_a_group_an_option_and_a_setting_of_it(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    group = printed(capsys, "optimizer")
    for name in option_files("optimizer"):
        assert f"optimizer={name}\n" in group
    adam = printed(capsys, "optimizer=adam")
    assert "  optimizer.eps=1e-8           a number above 0; added to the root, against division by zero\n" in adam
    assert adam.partition("\n\n")[0] in group and "optimizer=sgd" not in adam
    assert printed(capsys, "adam") == adam == printed(capsys, "-m", "optimizer=[adam]")
    crop = printed(capsys, "augmentation.crop")
    assert "  augmentation.crop.padding=4  a whole number of at least 1; black pixels added on each side\n" in crop
    assert printed(capsys, "augmentation=crop") == crop == printed(capsys, "augmentation.crop.padding")
    assert printed(capsys, "optimizer.betas").count("optimizer.betas=[0.9,0.999]") == 5  # of the optimizers beside adam
    warmup = printed(capsys, "scheduler.warmup_steps")
    assert warmup.startswith("every scheduler\n  scheduler.warmup_steps=0 ") and warmup.count("\n  ") == 1
    assert "lr=0.001  a number above 0; learning rate" in printed(capsys, "lr=0.1")
    assert printed(capsys, "wandb").count("\n  wandb.") == 12
    assert "batch_size=64 " in printed(capsys, "dataset=digits")
    assert "\n      dropout: 0.0,0.5\n" in printed(capsys, "experiment=dropout")
    assert printed(capsys, "lr", "adam") == printed(capsys, "lr").replace("All groups", adam + "All groups", 1).replace(
        "All groups and settings: python -m trainer --help\n", "", 1
    )


def test_the_command_and_the_flag_show_the_same(capsys):
    for words in (["optimizer=adam"], ["lr"], []):
        shown = [printed(capsys, *words)]
        for arguments in (["help", *words], [*words, "--help"], ["train", "--help", *words], ["help", "train", *words]):
            assert main(arguments) == 0
            shown.append(capsys.readouterr().out)
        assert len(set(shown)) == 1


def test_ones_own_yaml_is_in_the_help_and_in_cfg_as_in_a_run(in_empty_folder, monkeypatch, capsys):
    own = in_empty_folder / "home" / "own"
    (own / "optimizer").mkdir(parents=True)
    (own / "experiment").mkdir()
    adam = (ROOT / "conf" / "optimizer" / "adam.yaml").read_text()
    (own / "optimizer" / "adam_fast.yaml").write_text(adam.replace("0.999", "0.9"))
    (own / "experiment" / "mine.yaml").write_text(
        "# @package _global_\n# Mine.\nlr: 0.0123\n"
        "sweep:\n  question: >-\n    Is it\n    good?\n  expect: Yes.\n  trials: 3\n"
    )
    monkeypatch.setenv("HOME", str(own.parent))
    for folder in (["--config-dir", str(own)], ["--config-dir=~/own"]):
        assert "\n  adam_fast " in printed(capsys, *folder) and "  mine " in printed(capsys, *folder)
        assert "optimizer.betas=[0.9,0.9] " in printed(capsys, "optimizer=adam_fast", *folder)
        told = "  Mine.\n  Question: Is it good?\n  Expected: Yes.\n  lr: 0.0123\n  sweep:\n    trials: 3\n\n"
        assert told in printed(capsys, *folder, "experiment=mine")
        (run,) = compose([*folder, "experiment=mine", "~optimizer.eps"])
        assert run.lr == 0.0123
        compose([*folder, "--cfg", "job", "experiment=mine", "optimizer=adam_fast", "data_dir=~/data"])
        shown = capsys.readouterr().out
        assert "\nlr: 0.0123\n" in shown and "\ndata_dir: ~/data\n" in shown and "  - 0.9\n  - 0.9\n" in shown
    compose(["--cfg", "job", "augmentation=lecture", "~augmentation.crop", "--package", "augmentation"])
    assert "flip:" in (shown := capsys.readouterr().out) and "crop" not in shown
