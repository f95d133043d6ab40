"""Each mistake is one exact line with exit code 2, and no file is written."""

import shlex
import shutil
import sys

import hydra
import pytest
from conftest import REST, ROOT, as_told, clean_environment, compose, fresh, interpret, program, subprocess

from trainer.config.aliases import ALIASES
from trainer.config.check import check
from trainer.config.hydra_errors import reworded
from trainer.config.recorded import typed_settings
from trainer.config.run_config import SweepConfig, WandbConfig
from trainer.config.schema import GROUPS, shared_parameters, techniques
from trainer.config.settings import accepts, options_of
from trainer.config.suggestions import root_keys
from trainer.errors import ConfigError

REGULARIZATIONS = options_of("regularization")
OPTIMIZERS = ", ".join(options_of("optimizer"))
COUNT = "must be a whole number of at least 1"
MISTAKES = {
    "optimizer=adm": f"optimizer=adm (command line): there is no such optimizer. Did you mean adam? Accepted: {REST}",
    "+optimizer=adm": f"optimizer=adm (command line): there is no such optimizer. Did you mean adam? Accepted: {REST}",
    "optimizer=null": f"optimizer=null (command line): must be one of {OPTIMIZERS}",
    "~optimizer": f"optimizer=null (command line): must be one of {OPTIMIZERS}",
    "weight_decy=1": f"weight_decy (command line): there is no such key. Did you mean weight_decay? Accepted: {REST}",
    "+weight_decy=1": f"weight_decy (command line): there is no such key. Did you mean weight_decay? Accepted: {REST}",
    "++weight_decy=1": f"weight_decy (command line): there is no such key. Did you mean weight_decay? Accepted: {REST}",
    "LR=0.1": f"LR (command line): there is no such key. Did you mean lr? Accepted: {REST}",
    "logger=csv": f"logger (command line): there is no such key. Did you mean wandb.mode? Accepted: {REST}",
    "betas=[0.9,0.99]": f"betas (command line): there is no such key. Did you mean optimizer.betas? Accepted: {REST}",
    "members=3": f"members (command line): there is no such key. It belongs to model=ensemble. Accepted: {REST}",
    "model.members=3": "model.members (command line): lecture_cnn has no such option. It belongs to model=ensemble."
    " Accepted: channels, hidden, kernel_size",
    "optimizer.bets=1": "optimizer.bets (command line): adam has no such option. Did you mean betas?"
    " Accepted: amsgrad, betas, eps",
    "+optimizer.lr=1": "optimizer.lr (command line): adam has no such option."
    " Did you mean lr, which stands at the root? Accepted: amsgrad, betas, eps",
    "wandb.mod=online": "wandb.mod (command line): wandb has no such option. Did you mean mode?"
    " Accepted: arm, group, histograms, job_type, log_code, log_model, mode, name, notes, project and 2 more: python -m"
    " trainer --help",
    "epochs=ten": f"epochs='ten' (command line): {COUNT} and at most 1000000000",
    "epochs=2.5": f"epochs=2.5 (command line): {COUNT} and at most 1000000000",
    "epochs=-4": f"epochs=-4 (command line): {COUNT} and at most 1000000000",
    f"epochs={10**400}": f"epochs={10**400} (command line): {COUNT} and at most 1000000000",
    "batch_size=0": f"batch_size=0 (command line): {COUNT}",
    "lr=true": "lr=true (command line): must be a number above 0",
    "lr=0": "lr=0 (command line): must be a number above 0",
    "lr=nan": "lr=nan (command line): must be a number above 0",
    "lr=": "lr='' (command line): must be a number above 0",
    "lr=null": "lr=null (command line): must be a number above 0",
    "lr=???": "lr: no value is given (command line); it must be a number above 0",
    "~lr": "lr: no value is given (command line); it must be a number above 0",
    "lr=0.1,0.2": "lr=0.1,0.2 (command line): several values need -m, as in: python -m trainer -m lr=0.1,0.2",
    "lr=[1,": "lr=[1, (command line): cannot be read; lr must be a number above 0",
    "lr=1e999": "lr=1e999 (command line): must be a number above 0",
    "lr=${nope}": "lr: Interpolation key 'nope' not found",
    "dropout=1.5": "dropout=1.5 (command line): must be a number of at least 0 and below 1",
    "weight_decay_scope=biases": "weight_decay_scope='biases' (command line): must be one of weights, all",
    "device=gpu": "device='gpu' (command line): must be auto, cpu, mps, cuda or cuda:N. Did you mean device=cuda?",
    "early_stop_patience=0": f"early_stop_patience=0 (command line): {COUNT} or null",
    "wandb.project=a/b": "wandb.project='a/b' (command line): must be a text without"
    r" / \ : # ? and %, of 1 to 128 letters. Did you mean wandb.project=a_b?",
    "wandb.tags=3": "wandb.tags=3 (command line): must be a list, each a text. Did you mean 'wandb.tags=[\"3\"]'?",
    "wandb=disabled": "wandb='disabled' (command line): must be a group of options. Did you mean wandb.mode=disabled?",
    "wandb=3": "wandb=3 (command line): must be a group of options",
    "optimizer.betas=[0.9]": "optimizer.betas=[0.9] (command line): must be a list of 2,"
    " each a number of at least 0 and below 1",
    "augmentation=[flip,cropp]": "augmentation=cropp (command line): there is no such augmentation. Did you mean crop?"
    f" Accepted: {REST}",
    "augmentation.flipp.probability=1": "augmentation=flipp (command line): there is no such augmentation."
    f" Did you mean flip? Accepted: {REST}",
    "epochs": "epochs (command line): must be key=value. Did you mean epochs=VALUE, without blanks?",
    "digits": "digits (command line): must be key=value. Did you mean dataset=digits?",
    "Adam": "Adam (command line): must be key=value. Did you mean optimizer=adam?",
    "optimizers_tuned": "optimizers_tuned (command line): must be key=value."
    " Did you mean -m experiment=optimizers_tuned?",
    "fast": "fast (command line): must be key=value. See --help",
    "learning_rate=0.1": f"learning_rate (command line): there is no such key. Did you mean lr? Accepted: {REST}",
    "opt=adam": f"opt (command line): there is no such key. Did you mean optimizer? Accepted: {REST}",
    "label_smoothing=0.1": "label_smoothing (command line): there is no such key."
    f" Did you mean regularization=label_smoothing? Accepted: {REST}",
    "optimizer.learning_rate=1": "optimizer.learning_rate (command line): adam has no such option."
    " Did you mean lr, which stands at the root? Accepted: amsgrad, betas, eps",
    "--learning-rate=0.1": "--learning-rate=0.1 (command line): there is no such flag. Did you mean lr=0.1? Accepted:"
    " -m, --multirun, --cfg job, --config-dir DIR, --techniques PATH, --help, --version, --hydra-help, --info,"
    " --shell-completion",
    "weight_decay": "weight_decay (command line): must be key=value."
    " Did you mean weight_decay=VALUE, without blanks?",  # an experiment is called so too
    "grad-clip=1": "grad-clip (command line): there is no such key."
    f" Did you mean regularization=gradient_clipping? Accepted: {REST}",
    "foo/bar=1": f"foo/bar (command line): there is no such group. Accepted: {REST}",
    "optimizer.name=[a,b]": f"optimizer=['a', 'b'] (command line): there is no such optimizer. Accepted: {REST}",
    "hydra.run.dir=here": "hydra.run.dir (command line): of Hydra's own settings only hydra/launcher, hydra.launcher"
    " are accepted; a run's folder is output_dir=FOLDER, a study is asked for by -m",
    "--foo": "--foo (command line): there is no such flag. Accepted: -m, --multirun, --cfg job, --config-dir DIR,"
    " --techniques PATH, --help, --version, --hydra-help, --info, --shell-completion",
    "-m lr=glob(*)": "lr (command line): this list of values is empty",
    "data_dir=null": """data_dir=null (command line): must be a text. Did you mean 'data_dir="null"'?""",
    "wandb.tags=it's": """wandb.tags=it's (command line): cannot be read; wandb.tags must be a list, each a text."""
    """ Did you mean 'wandb.tags=["it'"'"'s"]'?""",
    "optimizer=sgd,": "optimizer=sgd, (command line): cannot be read; optimizer must be one of"
    f" {OPTIMIZERS}. Did you mean optimizer=sgd?",
    "regularization=[]": f"regularization=[] (command line): must be a list such as [{REGULARIZATIONS[0]}]; items:"
    f" {', '.join(REGULARIZATIONS)}. Did you mean regularization=none?",
    "augmentation=null": f"augmentation=null (command line): must be one of {', '.join(options_of('augmentation'))}."
    " Did you mean augmentation=none?",
    "optimizer=10": f"optimizer=10 (command line): must be one of {OPTIMIZERS}",
    "–m": "–m (command line): begins with a dash of typography. Did you mean -m?",
    "—help": "—help (command line): begins with a dash of typography. Did you mean --help?",
    "resume=nowhere": "resume=nowhere: there is no such folder",
}
CONTRADICTIONS = {
    "optimizer=schedule_free regularization=[l2,ema]": "optimizer=schedule_free evaluates an average of the weights"
    " already: leave out regularization=ema",
    "optimizer=sam on_nonfinite=skip": "on_nonfinite=skip does not go with optimizer=sam, which computes the gradients"
    " of a step itself (step(closure)). Accepted: on_nonfinite=stop",
    "augmentation=[aug_mix] augmentation.aug_mix.chain_depth=101": "augmentation.aug_mix.chain_depth=101 (command"
    " line): must be a whole number of at least 1 and at most 100 or null",
    "-m lr=0.1,0.2 sweep.metric=validation_macro_f1": "sweep.metric=validation_macro_f1: lr=0.1 does not measure it."
    " Give every run 'metric=[macro_f1]'",
    "-m metric=none,macro_f1 sweep.metric=macro_f1": "sweep.metric=validation_macro_f1: metric=none does not measure"
    " it. Give every run 'metric=[macro_f1]'",
    "-m metric=macro_f1 sweep.metric=validation_macro": "metric=macro (sweep.metric=validation_macro): there is no such"
    " metric. Did you mean macro_f1? Accepted: calibration_error, class_accuracy, macro_f1, top_k_accuracy",
    "-m lr=0.1,0.2 sweep.metric=reason": "sweep.metric='reason' (command line): must be one of validation_accuracy,"
    " validation_loss, validation_cross_entropy or validation_NAME of a metric=[NAME]",
    "metric=top_k_accuracy metric.top_k_accuracy.k=0": f"metric.top_k_accuracy.k=0 (command line): {COUNT}",
    "normalization=batch batch_size=1": "normalization=batch needs batch_size of at least 2:"
    " one image has no batch statistics",
    "validate_every=50 epochs=20": "validate_every=50 is more than epochs=20: early stopping would never look;"
    " lower it or set early_stop_patience=null",
    "scheduler.warmup_epochs=30": "scheduler.warmup_epochs=30.0 leaves nothing of epochs=30",
    "-m experiment=optimizers,weight_decay": "each experiment has axes of its own: start one after the other, not as"
    " an axis",
    "-m seed=1 --cfg job": "--cfg shows one run: leave -m out",
    "--run -m": "--run and --multirun (command line): give one of them",
    "--info -m": "--multirun and --info (command line): give one of them",
    "--resolve": "--resolve and --package (command line): belong to --cfg",
    "--cfg job --package nope": "--cfg job --package nope (command line): package 'nope' not found in config",
    "--config-dir nowhere": "--config-dir nowhere (command line): there is no such folder",
    "-m hydra/launcher=basic,joblib": "hydra/launcher (command line): is not a setting to compare",
    "-m sweep.arms=lr=0.1": "sweep.arms=lr=0.1 (command line): cannot be read; sweep.arms must be a list, each a text"
    " or a group of options, each a text or null."
    """ Did you mean 'sweep.arms=["lr=0.1"]'?""",
    "-m sweep.arms=3": "sweep.arms=3 (command line): must be a list, each a text or a group of options, each a"
    " text or null. Did you mean 'sweep.arms=[\"3\"]'?",
    "-m sweep.params.lr=null": "sweep.params.lr=null (command line): must be a text."
    " Did you mean 'sweep.params.lr=\"null\"'?",
    "-m lr=0.1 lr=0.2": "lr (command line): is given twice, lr=0.1 and lr=0.2. Give it once",
    "--config-dir a --config-dir b": "--config-dir (command line): is given twice",
    "sweep.method=random": "sweep.method (command line): belongs to a study of several runs: add -m",
    "dataset=digits --foo=1": "--foo=1 (command line): there is no such flag. Accepted: -m,"
    " --multirun, --cfg job, --config-dir DIR, --techniques PATH, --help, --version, --hydra-help, --info,"
    " --shell-completion",
    "scheduler.warmup_epochs=1 scheduler.warmup_steps=1": "scheduler.warmup_epochs and scheduler.warmup_steps: give one"
    " of them",
    "scheduler=cyclic scheduler.warmup_steps=3": "scheduler=cyclic starts at a rate of 0: with a warm-up set"
    " scheduler.min_lr above 0",
    "scheduler=triangular scheduler.warmup_epochs=1": "scheduler=triangular starts at a rate of 0: with a warm-up"
    " set scheduler.min_lr above 0",
    "scheduler=one_cycle optimizer=sgd": "scheduler=one_cycle sets the momentum of each step, and optimizer=sgd has"
    " none: set scheduler.cycle_momentum=false, or choose an optimizer with momentum above 0, or betas",
    "scheduler=one_cycle optimizer=rmsprop": "scheduler=one_cycle sets the momentum of each step, and"
    " optimizer=rmsprop has none[…]",
    "scheduler=one_cycle scheduler.momenta=[0.95,0.85]": "scheduler.momenta=[0.95, 0.85]: the first, at the highest"
    " rate, must not be the larger",
    "scheduler=wsd scheduler.min_lr=0.1": "scheduler.min_lr=0.1 is above lr=0.001",
    "scheduler=factors scheduler.factors=[0.0,1.0] scheduler.warmup_steps=3": "scheduler=factors starts at a rate of 0:"
    " with a warm-up the first factor must be above 0",
    "normalization=group normalization.num_groups=5": "normalization.num_groups=5 must divide the layers of"
    " model=lecture_cnn:"
    " [6, 16, 128]",
    "dataset=digits dataset.image_size=15": "model=lecture_cnn needs dataset.image_size of at least 16",
    "model=resnet9 dataset=digits dataset.image_size=7": "model=resnet9 needs dataset.image_size of at least 8",
    "model=ensemble optimizer=sam": "model=ensemble trains its members apart, and optimizer=sam goes by the gradient"
    " of them all",
    "model=mlp model.hidden=[32] optimizer=muon": "optimizer=muon acts on weights between the first and the last layer:"
    " it needs two numbers in model.hidden",
    "model=soft_sharing optimizer=muon": "optimizer=muon leaves the first and the last layer to AdamW, and"
    " model=soft_sharing has several of them: choose another of the two",
    "optimizer=momentum optimizer.form=ema optimizer.dampening=0.5": "optimizer.dampening=0.5 belongs to"
    " optimizer.form=torch: leave it out with ema",
    "scheduler=one_cycle optimizer=sam optimizer.base=sgd": "scheduler=one_cycle sets the momentum of each step, and"
    " optimizer=sam has none[…]",
    "model=ensemble regularization=label_smoothing": "model=ensemble trains its members apart: leave out"
    " regularization=label_smoothing",
    "augmentation=blur augmentation.blur.kernel_size=4": "augmentation.blur.kernel_size=4 is even: an odd number, such"
    " as 5",
    "augmentation=blur augmentation.blur.min_sigma=3.0": "augmentation.blur.min_sigma=3.0 is above"
    " augmentation.blur.max_sigma=2.0",
    "augmentation=random_erasing augmentation.random_erasing.max_area=0.01": "augmentation.random_erasing.min_area=0.02"
    " is above augmentation.random_erasing.max_area=0.01",
    "augmentation=random_erasing augmentation.random_erasing.min_ratio=4.0": "augmentation.random_erasing.min_ratio=4.0"
    " is above augmentation.random_erasing.max_ratio=3.3",
    "augmentation=rand_augment augmentation.rand_augment.magnitude=31": "augmentation.rand_augment.magnitude=31 is"
    " above 30, the strongest",
    "augmentation=aug_mix augmentation.aug_mix.severity=11": "augmentation.aug_mix.severity=11 is above 10, the"
    " strongest",
    "augmentation=scale augmentation.scale.low=2.0": "augmentation.scale.low=2.0 is above augmentation.scale.high=1.1",
    "scheduler=factors scheduler.factors=[]": "scheduler.factors=[] lists no rate: at least one",
    "dataset.folds=1 dataset.fold=0": "dataset.folds=1 leaves nothing to train on: at least 2",
    "scheduler=cosine scheduler.min_lr=0.1": "scheduler.min_lr=0.1 is above lr=0.001",
    "dataset.fold=3 dataset.folds=3": "dataset.fold=3 needs dataset.folds=N with N above 3",
    "dataset.folds=5": "dataset.folds=5 needs dataset.fold=0 … 4: the part to validate on",
    "experiment=dropout": "experiment=dropout compares several runs: python -m trainer -m experiment=dropout",
    "-m optimizer=sgd,adm": "optimizer=adm (command line): there is no such optimizer. Did you mean adam?"
    f" Accepted: {REST}",
    "-m seed=0,1,2,3,4,5,-6": "seed=-6 (command line): must be a whole number of at least 0",
}


@pytest.mark.parametrize(("arguments", "sentence"), {**MISTAKES, **CONTRADICTIONS}.items())
def test_a_mistake_is_one_exact_line(arguments, sentence, in_empty_folder):
    with pytest.raises(ConfigError) as caught:
        compose(arguments.split(" "))
    assert as_told(str(caught.value), sentence) == sentence
    assert list(in_empty_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    {
        "--batch-size 32": "batch_size=32",
        "--batch-size=32": "batch_size=32",
        "--bs 64": "batch_size=64",
        "--wd 0.01": "weight_decay=0.01",
        "--dropout 0.5": "dropout=0.5",
        "--LR=10^-3": "lr=1e-3",
        "--lr": "lr=VALUE, without blanks",
        "--optimizer AdamW": "optimizer=adamw",
        "--deterministic": "deterministic=true",
        "--multi-run": "--multirun",
        "--clip=1.0": "regularization=gradient_clipping",
        "--warmup=3": "scheduler.warmup_epochs=3",
        "--wandb.mode=online": "wandb.mode=online",
        "--optimizers-tuned": "-m experiment=optimizers_tuned",
    }.items(),
)
def test_a_flag_of_other_tools_is_told_as_a_setting(typed, meant):
    flag = typed.partition(" ")[0]
    with pytest.raises(ConfigError) as caught:
        compose(typed.split(" "))
    start = f"{flag} (command line): there is no such flag. Did you mean {meant}? Accepted: -m,"
    assert str(caught.value).startswith(start)


@pytest.mark.parametrize(
    "arguments", [["optimizer=adm"], ["weight_decy=1"], ["--cfg", "job", "lr=0"], ["--cfg=job", "lr=0"]]
)
def test_the_program_tells_it_with_exit_code_2(arguments, in_empty_folder):
    done = program(*arguments, cwd=in_empty_folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("trainer: ") and done.stderr.count("\n") == 1
    assert list(in_empty_folder.iterdir()) == []


def test_mistakes_help_and_completion_need_no_heavy_import():
    script = """
import contextlib, sys
from trainer.config.compose import interpret
from trainer.study.plan import plan_from
from trainer.errors import ConfigError
from trainer.cli.help import show
show([])
interpret(["--cfg", "job", "dataset=digits"])
for mistake in ("optimizer=adm", "optimizer.bets=1", "epochs=ten", "dropout=2", "augmentation.flip.x=1"):
    with contextlib.suppress(ConfigError):
        interpret([mistake])
    with contextlib.suppress(ConfigError):
        plan_from(["-m", "lr=0.1,-1"])
print(sorted({"torch", "torchvision", "wandb", "sklearn", "rich", "numpy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


YAML_MISTAKES = {
    (
        "optimizer/adam.yaml",
        "betas",
        "bets",
    ): "optimizer.bets (conf/optimizer/adam.yaml, line 4): adam has no such option."
    " Did you mean betas? Accepted: amsgrad, betas, eps",
    (
        "optimizer/adam.yaml",
        "name: adam",
        "name: adm",
    ): "optimizer=adm (conf/optimizer/adam.yaml, line 3): there is no such"
    f" optimizer. Did you mean adam? Accepted: {REST}",
    (
        "optimizer/adam.yaml",
        "eps: 1e-8",
        "eps: tiny",
    ): "optimizer.eps='tiny' (conf/optimizer/adam.yaml, line 5): must be a number above 0",
    (
        "config.yaml",
        "\nlr: 0.001",
        "\nlr: ???",
    ): "lr: no value is given (conf/config.yaml, line 22); it must be a number above 0",
    (
        "config.yaml",
        "\nlr: 0.001",
        "\nlrr: 0.001",
    ): f"lrr (conf/config.yaml, line 22): there is no such key. Did you mean lr? Accepted: {REST}",
    (
        "config.yaml",
        "optimizer: adam",
        "optimizer: adma",
    ): f"optimizer=adma (conf/config.yaml): there is no such optimizer. Did you mean adam? Accepted: {REST}",
    (
        "dataset/digits.yaml",
        "batch_size: 64",
        "batch_size: many",
    ): f"batch_size='many' (conf/dataset/digits.yaml, line 3): {COUNT}",
    (
        "regularization/l1.yaml",
        "  strength",
        "  strenth",
    ): "regularization.l1.strenth (conf/regularization/l1.yaml, line 3): l1 has"
    " no such option. Did you mean strength? Accepted: strength",
}


def test_what_other_tools_call_otherwise_is_a_setting_here():
    for setting in set(ALIASES.values()):
        key, _, option = setting.partition("=")
        group, _, inner = key.partition(".")
        if group in GROUPS:
            options = {name for technique in techniques(group).values() for name in technique} | {
                *shared_parameters(group)
            }
        else:
            options = {*WandbConfig.model_fields, *SweepConfig.model_fields}
        assert inner in options if inner else group in root_keys(), setting
        assert not option or accepts(key, option), setting


@pytest.mark.parametrize(
    ("arguments", "renamed"),
    {
        "decay=all": "weight_decay_scope",
        "insight_every=2": "layer_stats_every",
        "force=true": "retrain",
        "-m seed=0,1 force=true": "retrain",
        "-m seed=0,1 sweep.fair=strict": "sweep.fairness_check",
        "wandb.artifact=true": "wandb.log_model",
        "dataset=image_folder dataset.broken=skip": "dataset.on_corrupt_image",
        "scheduler=cosine scheduler.minimum=1e-5": "scheduler.min_lr",
        "scheduler=step scheduler.every=3": "scheduler.step_size",
        "scheduler=listed": "scheduler=factors",
        "-m scheduler=constant,listed": "scheduler=factors",
        "normalization=group normalization.groups=2": "normalization.num_groups",
    }.items(),
)
def test_a_renamed_key_is_told_by_its_new_name(arguments, renamed):
    with pytest.raises(ConfigError, match=rf" Did you mean {renamed}\? Accepted: "):
        compose(arguments.split())


def test_an_alias_is_left_out_where_the_technique_has_no_such_option():
    with pytest.raises(ConfigError) as caught:
        compose(["scheduler=cosine", "scheduler.every=3"])
    assert "step_size" not in str(caught.value)


@pytest.mark.parametrize(("change", "sentence"), YAML_MISTAKES.items(), ids=lambda value: str(value)[:40])
def test_a_typo_in_a_yaml_file_names_the_file(change, sentence, in_empty_folder):
    file, old, new = change
    for part in ("trainer", "conf"):
        shutil.copytree(ROOT / part, in_empty_folder / "copy" / part)
    path = in_empty_folder / "copy" / "conf" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    done = fresh("dataset=digits", "regularization=l1", cwd=in_empty_folder, PYTHONPATH=str(in_empty_folder / "copy"))
    told = done.stderr.removeprefix("trainer: ").removesuffix("\n")
    assert (done.returncode, as_told(told, sentence)) == (2, sentence)


def test_broken_yaml_is_named_with_its_line(in_empty_folder):
    for part in ("trainer", "conf"):
        shutil.copytree(ROOT / part, in_empty_folder / "copy" / part)
    path = in_empty_folder / "copy" / "conf" / "optimizer" / "adam.yaml"
    path.write_text("name: adam\nbetas: {[0.9, 0.999]\neps: 1e-8\n")
    done = fresh("dataset=digits", cwd=in_empty_folder, PYTHONPATH=str(in_empty_folder / "copy"))
    assert done.returncode == 2
    assert done.stderr.startswith(f"trainer: {path}, line 3, column ")
    assert done.stderr.count("\n") == 1


def test_help_names_every_option_with_its_line(in_empty_folder):
    done = program("--help", cwd=in_empty_folder)
    assert done.returncode == 0
    for file in (ROOT / "conf").glob("*/*.yaml"):
        assert f"\n  {file.stem} " in done.stdout or file.parent.name == "claim", file  # no options
    assert "  weight_decay=0.0 " in done.stdout
    assert "  adam *" in done.stdout  # the default


def test_cfg_job_prints_every_value(capsys):
    compose(["--cfg", "job", "dataset=digits", "optimizer=sgd", "lr=0.5"])
    printed = capsys.readouterr().out
    assert "\nlr: 0.5\n" in f"\n{printed}" and "name: sgd" in printed and "batch_size: 64\n" in printed
    assert "${" not in printed


def test_cfg_job_shows_one_package_and_resolves_it(capsys):
    compose(["--cfg", "job", "--package", "wandb", "wandb.name=${optimizer.name}"])
    compose(["--cfg", "job", "--package", "wandb", "--resolve", "wandb.name=${optimizer.name}"])
    plain, resolved = capsys.readouterr().out.split("# @package wandb\n")[1:]
    assert "name: ${optimizer.name}\n" in plain and "name: adam\n" in resolved
    assert plain.splitlines()[0] == "mode: offline"


@pytest.fixture
def own_yaml(tmp_path):
    """Make a folder for `--config-dir` with an optimizer. Return a function that writes an experiment."""
    (tmp_path / "own" / "optimizer").mkdir(parents=True)
    (tmp_path / "own" / "experiment").mkdir()
    adam = (ROOT / "conf" / "optimizer" / "adam.yaml").read_text()
    (tmp_path / "own" / "optimizer" / "adam_fast.yaml").write_text(adam.replace("0.999", "0.9"))

    def experiment(text):
        (tmp_path / "own" / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{text}")
        return ["--config-dir", str(tmp_path / "own"), "experiment=mine"]

    return experiment


def test_own_yaml_is_found_by_every_way_in(own_yaml, capsys, in_empty_folder):
    arguments = own_yaml("sweep: {arms: [optimizer=adam_fast lr=0.1, optimizer=sgd]}")
    runs = compose(["-m", *arguments])
    assert [(run.optimizer.options.get("betas"), run.lr) for run in runs] == [((0.9, 0.9), 0.1), (None, 0.001)]
    runs = compose(["-m", *arguments[:2], "optimizer=glob(adam*)"])
    assert [run.optimizer.name for run in runs] == ["adam", "adam", "adamax", "adamw"]
    assert [run.optimizer.options["betas"] for run in runs[:2]] == [(0.9, 0.999), (0.9, 0.9)]
    compose(["--cfg", "job", *arguments[:2], "optimizer=adam_fast", "--package", "optimizer.betas"])
    assert capsys.readouterr().out == "# @package optimizer.betas\n- 0.9\n- 0.9\n"
    shown = program("--info", "searchpath", *arguments[:2], cwd=in_empty_folder).stdout
    assert f"| command-line | file://{arguments[1]} |" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("text", "sentence"),
    {
        "hydra: {sweeper: {params: {lr: '0.1,0.2'}}}": "hydra.sweeper.params (a YAML file): is not read, an experiment"
        " has its axes in sweep.params",
        "hydra: {sweeper: {arms: [lr=0.1, lr=0.2]}}": "own/experiment/mine.yaml: Key 'arms' not in 'BasicSweeperConf'",
        "sweep: {arm: [lr=0.1, lr=0.2]}": "sweep.arm (own/experiment/mine.yaml, line 2): sweep has no such option."
        " Did you mean arms?",
    }.items(),
)
def test_an_axis_in_the_wrong_place_is_told(text, sentence, own_yaml):
    for flags in ([], ["-m"]):
        with pytest.raises(ConfigError) as caught:
            compose([*flags, *own_yaml(text)])
        assert str(caught.value).partition(" Accepted: ")[0] == sentence


def test_a_callback_of_hydra_is_not_called(own_yaml, in_empty_folder):
    """Hydra's command line would create the file before the first error is reported."""
    written = in_empty_folder / "written"
    arguments = own_yaml(f"hydra: {{callbacks: {{any: {{_target_: builtins.open, file: {written}, mode: w}}}}}}")
    compose([*arguments, "dataset=digits"])
    compose(["-m", *arguments, "dataset=digits", "seed=0,1"])
    assert not written.exists()


def test_a_program_that_uses_hydra_itself_can_compose_runs():
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        assert compose(["lr=0.5"])[0].lr == 0.5
        assert hydra.compose("config").lr == 0.001


def test_a_data_set_brings_its_batch_size_unless_one_is_named():
    assert compose(["dataset=digits"])[0].batch_size == 64
    assert compose(["dataset=digits", "batch_size=32"])[0].batch_size == 32
    assert compose([])[0].batch_size == 2048


def test_the_lecture_command_word_for_word():
    (run,) = compose(["optimizer=adam", "weight_decay=0.002"])
    assert (run.model.name, run.dataset.name, run.optimizer.name) == ("lecture_cnn", "cifar10", "adam")
    assert (run.weight_decay, run.lr, run.batch_size, run.early_stop_patience) == (0.002, 0.001, 2048, 10)


def test_listed_techniques_keep_their_order():
    (run,) = compose(["augmentation=[crop,flip]", "augmentation.crop.padding=2"])
    assert [(choice.name, dict(choice.options)) for choice in run.augmentation] == [
        ("crop", {"padding": 2}),
        ("flip", {"probability": 0.5}),
    ]


def test_flags_may_stand_anywhere(capsys):
    assert len(compose(["dataset=digits", "-m", "seed=0,1"])) == 2
    compose(["dataset=digits", "--cfg", "job", "epochs=3"])
    assert "epochs: 3\n" in capsys.readouterr().out


def test_multirun_composes_every_combination():
    runs = compose(["-m", "optimizer=sgd,adam", "seed=range(3)"])
    assert [(run.optimizer.name, run.seed) for run in runs] == [(o, s) for o in ("sgd", "adam") for s in range(3)]


@pytest.mark.parametrize(
    ("experiment", "seen"),
    {
        "optimizers": ["sgd 0.001", "momentum 0.001", "nesterov 0.001", "adagrad 0.001", "rmsprop 0.001", "adam 0.001"],
        "optimizers_tuned": [
            "sgd 0.1",
            "momentum 0.02",
            "nesterov 0.02",
            "adagrad 0.01",
            "rmsprop 0.001",
            "adam 0.001",
        ],
        "learning_rates": ["adam 0.1", "adam 0.01", "adam 0.001", "adam 0.0001", "adam 1e-05"],
    }.items(),
)
def test_an_experiment_brings_its_axes_or_arms(experiment, seen):
    runs = compose(["-m", f"experiment={experiment}"])
    assert [f"{run.optimizer.name} {run.lr}" for run in runs] == seen
    assert {run.wandb.project for run in runs} == {experiment.removesuffix("_tuned")}
    (first, *_) = compose(["-m", f"experiment={experiment}", "wandb.project=mine"])
    assert first.wandb.project == "mine"


def test_what_is_typed_beside_a_recipe_replaces_its_techniques():
    typed = {
        **{"dataset": "image_folder", "model": "mlp", "activation": "tanh", "normalization": "none", "init": "zeros"},
        **{"optimizer": "adam", "scheduler": "cosine", "regularization": "none", "augmentation": "flip"},
    }
    settings = {"lr": 0.1, "epochs": 2, "batch_size": 64, "precision": "fp32", "weight_decay": 0.0, "seed": 3}
    words = [f"{key}={value}" for key, value in (typed | settings).items()]
    (run,), (plain,) = compose(["experiment=cifar10_94", *words]), compose(words)
    kept = {"early_stop_patience": None, "wandb": run.wandb}
    assert run == plain.model_copy(update=kept)


@pytest.mark.long
@pytest.mark.parametrize("experiment", ["regularizers", "learning_rate_decay"])
def test_the_command_of_an_arm_alone_is_taken(experiment):
    plan = interpret(["-m", f"experiment={experiment}"])
    for run in plan.runs:
        command = plan.command(run.point)
        assert compose(shlex.split(command)[3:]) == [run.config], command


def test_what_is_typed_replaces_an_axis_and_a_setting_in_every_arm():
    assert [run.weight_decay for run in compose(["-m", "experiment=weight_decay", "weight_decay=0.5,0.6"])] == [
        0.5,
        0.6,
    ]
    assert {run.lr for run in compose(["-m", "experiment=optimizers_tuned", "lr=0.3"])} == {0.3}
    assert len(compose(["-m", "experiment=optimizers_tuned", "seed=0,1"])) == 12


def test_arms_may_be_typed():
    runs = compose(["-m", "sweep.arms=['optimizer=sgd lr=0.1','optimizer=adam']", "seed=0,1"])
    seen = [(run.optimizer.name, run.lr, run.seed) for run in runs]
    assert seen == [("sgd", 0.1, 0), ("sgd", 0.1, 1), ("adam", 0.001, 0), ("adam", 0.001, 1)]


def test_the_lectures_augmentation_arm_trains_twice_as_long_and_the_fair_one_does_not():
    assert [run.epochs for run in compose(["-m", "experiment=augmentation_lecture"])] == [30, 60]
    assert [run.epochs for run in compose(["-m", "experiment=augmentation"])] == [30, 30]


def test_what_hydra_itself_trips_over_is_one_line_too():
    with pytest.raises(ConfigError, match=r"^a=1 b=2: Hydra cannot compose this \(TypeError: first\)$"):  # noqa: SIM117
        with reworded(["a=1", "b=2"]):
            raise TypeError("first\nsecond")


@pytest.mark.parametrize(
    ("arguments", "told", "lr"),
    [
        ("lr=0.1 lr=0.2", "lr (command line): is given twice, lr=0.1 and lr=0.2", 0.2),
        (
            "augmentation=flip augmentation=crop",
            "augmentation (command line): is given twice, augmentation=flip and augmentation=crop. For both:"
            " 'augmentation=[flip,crop]'",
            0.001,
        ),
        ("lr=0.1 lr=0.1", None, 0.1),
    ],
)
def test_of_a_setting_that_is_given_twice_the_last_is_taken_with_a_warning(arguments, told, lr, capsys):
    assert compose(arguments.split())[0].lr == lr
    assert capsys.readouterr().err == (f"trainer: warning: {told}: the last one is taken\n" if told else "")


def test_a_command_in_a_complaint_is_quoted():
    with pytest.raises(ConfigError, match=r": python -m trainer -m dataset=digits 'lr=0\.1, 0\.2'$"):
        compose(["dataset=digits", "lr=0.1, 0.2"])


def test_a_reader_that_leaves_early_sees_no_traceback(in_empty_folder):
    script = f"{sys.executable} -m trainer --help | head -1"
    done = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True, env=clean_environment())
    assert (done.stdout, done.stderr) == ("Compare how neural networks are trained.\n", "")


def test_a_record_that_is_older_than_a_group_has_its_default():
    (run,) = compose(["dataset=digits"])
    tree = {key: value for key, value in run.tree().items() if key not in ("loss", "metric")}
    assert check(tree) == run
    typed = typed_settings(tree)
    assert (typed["loss"], typed["metric"]) == ("cross_entropy", [])


@pytest.mark.parametrize("name", ["macro_f1", "validation_macro_f1"])
def test_the_direction_of_a_metric_is_recorded_with_its_full_name(name):
    plan = interpret(["-m", "lr=0.1,0.2", "metric=[macro_f1,calibration_error]", f"sweep.metric={name}"])
    assert (plan.settings.metric, plan.settings.direction, plan.settings.sign) == ("validation_macro_f1", "maximize", 1)
    turned = interpret(["-m", "lr=0.1,0.2", "metric=[macro_f1]", f"sweep.metric={name}", "sweep.direction=minimize"])
    assert (turned.settings.direction, turned.settings.sign) == ("minimize", -1)
