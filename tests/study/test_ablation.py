"""An ablation: the arms of a recipe, what each lacks, and the sentences on what a technique gains."""

import json
from pathlib import Path

import pytest
from conftest import compose, interpret

from trainer.cli.main import main
from trainer.config.compose import interpret as interpret_run
from trainer.errors import ConfigError
from trainer.reports.content import of_study
from trainer.stats.arms import Arm
from trainer.stats.design import Design, Effects
from trainer.stats.verdict import judge
from trainer.study.fairness import examine
from trainer.study.manifest import Manifest

TINY = ("dataset=digits", "dataset.image_size=8", "model=mlp", "model.hidden=[8]", "device=cpu", "wandb.mode=disabled")


def arms(*arguments):
    """The overrides of each arm of an ablation by its name."""
    return {name: " ".join(arm.words) for name, arm in interpret(["-m", *arguments]).sweep.ablation.arms.items()}


def refused(*arguments):
    with pytest.raises(ConfigError) as error:
        interpret(["-m", *arguments])
    return str(error.value)


def test_the_full_recipe_without_each_of_its_techniques():
    plan = interpret(["-m", "ablate=each", "experiment=recommended_full", "dataset=digits", "seed=0,1,2"])
    rest = "normalization=batch init=kaiming_normal"
    assert {name: " ".join(arm.words) for name, arm in plan.sweep.ablation.arms.items()} == {
        "full": f"{rest} augmentation=lecture",
        "without normalization": "normalization=none init=kaiming_normal augmentation=lecture",
        "without kaiming_normal": "normalization=batch init=default augmentation=lecture",
        "without flip": f"{rest} augmentation=[crop,color_jitter]",
        "without crop": f"{rest} augmentation=[flip,color_jitter]",
        "without color_jitter": f"{rest} augmentation=[flip,crop]",
    }
    assert (len(plan.runs), plan.settings.baseline) == (18, "full")
    # The first arm is the recipe as it is trained without -m, and each other one the command that is told for it.
    (recipe,) = compose(["experiment=recommended_full", "dataset=digits"])
    assert plan.runs[0].config == recipe
    told = plan.command(plan.runs[-1].point).split()[3:]
    assert interpret_run([word.strip("'") for word in told]) == plan.runs[-1].config
    assert plan.runs[-1].config.augmentation == recipe.augmentation[:2]


def test_each_technique_alone_and_pairs():
    assert arms("ablate=add", "experiment=recommended_basic") == {
        "plain": "++weight_decay=0.0 scheduler=constant",
        "with scheduler": "++weight_decay=0.0 scheduler=plateau_note_000",
        "with weight_decay": "++weight_decay=0.0001 scheduler=constant",
    }
    typed = (
        "dataset=digits",
        "normalization=batch",
        "dropout=0.3",
        "augmentation=[crop]",
        "augmentation.crop.padding=2",
    )
    crop = "augmentation=[crop] ++augmentation.crop.padding=2"
    assert arms("ablate=pairs", *typed) == {
        "full": f"++dropout=0.3 normalization=batch {crop}",
        "without normalization": f"++dropout=0.3 normalization=none {crop}",
        "without crop": "++dropout=0.3 normalization=batch augmentation=none",
        "without dropout": f"++dropout=0.0 normalization=batch {crop}",
        "without normalization and crop": "++dropout=0.3 normalization=none augmentation=none",
        "without normalization and dropout": f"++dropout=0.0 normalization=none {crop}",
        "without crop and dropout": "++dropout=0.0 normalization=batch augmentation=none",
    }
    # What a group cannot do without is replaced if it is listed, an optimizer together with its rate.
    sgd = ("dataset=digits", "optimizer=sgd", "lr=0.1", "dropout=0.3")
    assert list(arms("ablate=each", *sgd)) == ["full", "without dropout"]
    assert arms("ablate=each", *sgd, "ablate_only=[optimizer]") == {
        "full": "++lr=0.1 optimizer=sgd",
        "without sgd": "++lr=0.001 optimizer=adam",
    }
    assert list(arms("ablate=each", "experiment=cifar10_94")) == [
        "full", *(f"without {name}" for name in (
            "gelu", "normalization", "scheduler", "label_smoothing", "ema", "flip", "crop", "cutout", "weight_decay"))
    ]  # fmt: skip
    warm = arms("ablate=each", "dataset=digits", "scheduler=cosine", "scheduler.warmup_epochs=2")
    assert warm["without scheduler"] == "scheduler=constant ++scheduler.warmup_epochs=2"
    assert warm["without warm-up"] == "scheduler=cosine"
    whole = arms("ablate=each", "experiment=recommended_full", "ablate_only=[augmentation]")
    assert whole["without augmentation"] == "augmentation=none"


def test_options_in_a_file_leave_with_their_technique(in_empty_folder):
    file = Path("mine/experiment/recipe.yaml")
    file.parent.mkdir(parents=True)
    file.write_text(
        "# @package _global_\ndefaults:\n  - override /scheduler: step\n  - override /augmentation: [flip, crop]\n"
        "scheduler:\n  step_size: 3\n  warmup_epochs: 1\naugmentation:\n  crop:\n    padding: 2\n"
    )
    typed = ("--config-dir=mine", "experiment=recipe", "dataset=digits", "ablate=each")
    found = arms(*typed)
    both = "augmentation=[flip,crop]"
    assert found["without scheduler"] == f"scheduler=constant {both} ~scheduler.step_size"
    assert found["without warm-up"] == f"scheduler=step {both} ++scheduler.warmup_epochs=0.0"
    assert found["without crop"] == "scheduler=step augmentation=[flip] ~augmentation.crop"
    runs = {run.point["arm"]: run.config for run in interpret(["-m", *typed]).runs}
    assert runs["without scheduler"].scheduler.name == "constant"
    assert runs["without scheduler"].scheduler.shared["warmup_epochs"] == 1
    assert [each.name for each in runs["without crop"].augmentation] == ["flip"]
    assert runs["without flip"].augmentation[0].options == {"padding": 2}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("ablate=each",
         "ablate=each: the recipe has no technique beside the defaults. Choose some, as in"
         " experiment=recommended_full or normalization=batch dropout=0.3"),
        ("ablate=each optimizer=sgd",
         "ablate=each: the recipe has no technique beside the defaults. Choose some, as in"
         " experiment=recommended_full or normalization=batch dropout=0.3. Only if it is listed:"
         " 'ablate_only=[optimizer]'"),
        ("ablate=pairs dropout=0.3",
         "ablate=pairs needs two techniques, and there is dropout alone: ablate=each"),
        ("ablate=each dropout=0.3 ablate_only=[droput]",
         "ablate_only: droput: there is no such technique. Did you mean"
         " dropout? In this recipe there are: dropout"),
        ("ablate=each dropout=0.3 ablate_only=[flip]",
         "ablate_only: flip is off in this recipe, or the default. In this"
         " recipe there are: dropout"),
        ("ablate=each dropout=0.3 ablate_only=[epochs]",
         "ablate_only: epochs is no technique. In this recipe there are:"
         " dropout"),
        ("ablate=each experiment=recommended_full ablate_only=[flip,augmentation]",
         "ablate_only: flip is a part of"
         " augmentation: list one of them"),
        ("ablate=each dropout=0.3 lr=0.1,0.01",
         "ablate=each makes the arms of one recipe, and lr has several values:"
         " give it one. Several values may have: seed, split_seed, dataset.fold"),
        ("ablate=each experiment=dropout",
         "ablate=each makes the arms of one recipe, and dropout has several values:"
         " give it one. Several values may have: seed, split_seed, dataset.fold"),
        ("ablate=each dropout=0.3 sweep.baseline=full",
         "ablate=each has arms and a baseline of its own: leave"
         " sweep.baseline=full out"),
        ("ablate=eech dropout=0.3",
         "ablate='eech' (command line): must be one of each, add, pairs or null. Did you mean"
         " ablate=each?"),
        ("ablate_only=[dropout] dropout=0.3",
         "ablate_only says which techniques are ablated: add ablate=each, add or"
         " pairs"),
        ("sweep.ablate=each",
         "sweep.ablate: there is no such key. Did you mean ablate, which stands at the root?"),
        ("ablate=each regularization=[r_drop] dropout=0.3",
         "without dropout: regularization=r_drop compares two passes,"
         " which are equal with dropout=0: set dropout=0.3. Ablate the others alone: 'ablate_only=[r_drop]'"),
    ],
    ids=lambda value: value if "=" in value and len(value) < 80 else "",
)  # fmt: skip
def test_what_is_no_ablation_is_told_in_one_line(arguments, sentence):
    assert refused("dataset=digits", *arguments.split()) == sentence


def test_an_ablation_needs_m():
    with pytest.raises(ConfigError, match=r"ablate \(command line\): belongs to a study of several runs: add -m"):
        interpret_run(["dataset=digits", "dropout=0.3", "ablate=each"])


def test_the_sentences_say_what_a_technique_gains():
    full, worse, same = (
        Arm(name, {str(seed): mean + 0.001 * seed for seed in range(5)})
        for name, mean in (("full", 0.95), ("without batch", 0.90), ("without flip", 0.9505))
    )
    effects = Effects("full", {"full": (), "without batch": ("batch",), "without flip": ("flip",)})
    found = judge([full, worse, same], Design(effects=effects), "full")
    told = {each.first.name: each.sentence(found.design) for each in found.comparisons}
    assert told["without batch"] == "without batch: −5.0 ± 0.3 points, batch helps (5 seeds, p < 0.001)"
    assert told["without flip"] == (
        "without flip: no conclusion at 5 seeds (+0.1 ± 0.2 points, p = 0.63); if it differs from"
        " full, then by at most 0.3 points"
    )
    # For a loss lower is better, and an added technique tells it the other way round.
    other = Design(metric="validation_loss", sign=-1, effects=Effects("full", effects.techniques, added=True))
    found = judge([full, worse], other, "full")
    assert "0.050 ± 0.002 in validation loss, batch helps (5 seeds, p < 0.001)" in found.comparisons[0].sentence(other)
    pair = Design(effects=Effects("full", {"without batch": ("batch", "flip")}))
    assert "batch and flip together help" in judge([full, worse], pair, "full").comparisons[0].sentence(pair)


def test_an_ablation_from_its_command_to_its_report(in_empty_folder, capsys):
    typed = ("epochs=2", "lr=0.01", "normalization=batch", "dropout=0.9", "ablate=pairs", "seed=0,1,2")
    assert main(["-m", *TINY, *typed]) == 0
    told = capsys.readouterr()
    assert (
        "12 runs. ablate=pairs compares 4 arms: full, without each and without each pair of normalization, dropout. All"
        " arms are compared with full" in told.out.replace("\n", " ")
    )
    (folder,) = Path("outputs/sweeps").iterdir()
    assert "tried with" not in told.err  # of the fairness check: no arm has more tries than another
    study = Manifest.read(folder)
    assert study.ablation.arms["without dropout"].techniques == ("dropout",)
    content = of_study(folder)
    order = [sentence.partition(":")[0] for sentence in content.verdict]
    assert order == ["without normalization", "without normalization and dropout", "without dropout"]
    assert ", dropout hurts (3 seeds, cross-fitted, p " in content.verdict[2]
    average, _, interaction = content.judged.findings
    assert average.sentence.startswith("normalization on average: +")
    mean = {arm.name.removeprefix("without "): arm.mean for arm in content.arms}
    gained = mean["full"] - mean["normalization"] + mean["dropout"] - mean["normalization and dropout"]
    assert average.figures["difference"] == pytest.approx(gained / 2)
    together = mean["full"] - mean["normalization"] - mean["dropout"] + mean["normalization and dropout"]
    assert interaction.figures["difference"] == pytest.approx(together)
    assert main(["export", str(folder), "--json", "verdict.json"]) == 0
    assert main(["-m", *TINY, *typed]) == 0
    assert "Continuing" in capsys.readouterr().out
    verdict = json.loads(Path("verdict.json").read_text())
    assert verdict["reference"] == "full"
    assert [each["settings"]["dropout"] for each in verdict["arms"]] == [0.0, 0.0, 0.9, 0.9]
    assert [each["question"] for each in verdict["findings"]] == ["main_effect", "main_effect", "interaction"]
    # The same command continues it; a further seed is of every arm, and an arm cannot be added.
    assert main(["study", str(folder), "add", "seed=3"]) == 0
    assert len(Manifest.read(folder).entries) == 16
    assert main(["study", str(folder), "add", "dropout=0.5"]) == 2
    assert "add dropout=0.5: the arms of an ablation follow from its recipe" in capsys.readouterr().err
    assert main(["study", str(folder), "rename", "full", "all of it"]) == 0
    assert of_study(folder).baseline == "all of it"
    assert ", normalization helps (4 seeds, cross-fitted, p " in of_study(folder).verdict[0]
    (unfair,) = examine(interpret(["-m", *TINY, *typed])).unfair
    assert unfair.startswith("full has 626 parameters, without normalization 610 (+3%)")


def test_pairs_are_not_stopped_by_their_values():
    with pytest.raises(ConfigError, match=r"^ablate=pairs: its average effects and interactions hold for a number of"):
        interpret(["-m", "dataset=digits", "ablate=pairs", "augmentation=[flip,crop]", "sweep.until=decided"])
