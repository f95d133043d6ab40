"""The checks of techniques that contradict another setting. Imports no torch: a mistake is reported without waiting.

A function named after a config group is called for every run, and one named `<group>_<option>` for the runs that have
chosen that option. Each takes the checked run and raises ConfigError with one line. Those of the groups that make up a
network stand in network_checks.py.
"""

from collections.abc import Mapping
from typing import Any

from trainer.config.directions import direction_of
from trainer.config.run_config import RunConfig
from trainer.config.schema import shared_parameters
from trainer.config.settings import is_of_kind
from trainer.config.types import Figure
from trainer.errors import ConfigError
from trainer.techniques.closures import refuse_closure
from trainer.techniques.remedies import has_momentum

# The schedules from lr down to their min_lr.
FALLING = ("cosine", "cosine_restarts", "cyclic", "linear", "plateau", "polynomial", "triangular", "wsd")


def dataset(run: RunConfig) -> None:
    """Refuse a ratio that makes the first class the smallest."""
    imbalance = run.dataset.shared["imbalance"]
    if imbalance is not None and imbalance < 1:
        raise ConfigError(
            f"dataset.imbalance={imbalance:g}: must be at least 1, the images of the largest class for one of the"
            f" smallest, as in {1 / imbalance:g}"
        )


def dataset_image_folder(run: RunConfig) -> None:
    """Refuse settings of a split that is not made."""
    _refuse_split_settings(run, "folder", "train/", "val/")


def dataset_arrays(run: RunConfig) -> None:
    """Refuse settings of a split that is not made."""
    _refuse_split_settings(run, "own", "the training images", "a part of its own")


def _refuse_split_settings(run: RunConfig, other: str, whole: str, instead: str) -> None:
    """Refuse settings of the split of `whole` if dataset.validation=`other` validates on what is `instead` of it."""
    if run.dataset.options["validation"] == "split":
        return
    shared, (_, usual_size) = run.dataset.shared, shared_parameters("dataset")["validation_size"]
    for setting, value, without_effect in (
        ("dataset.folds", shared["folds"], (None,)),
        ("dataset.validation_size", shared["validation_size"], (usual_size, 0)),  # 0: a training on all images
        ("split_seed", run.split_seed, (0,)),
    ):
        if value not in without_effect:
            raise ConfigError(
                f"{setting}={value} acts on a split of {whole}, and dataset.validation={other} validates on {instead}"
                " instead: leave one of them out"
            )


def metric(run: RunConfig) -> None:
    """Refuse a name that no figure can have, and a metric that does not say which values are better."""
    for choice in run.metric:
        if choice.name in ("loss", "accuracy", "cross_entropy"):
            raise ConfigError(f"metric={choice.name}: validation_{choice.name} is another figure, rename it")
        if not is_of_kind(Figure, f"validation_{choice.name}"):
            raise ConfigError(f"metric={choice.name}: the name of a metric has a–z, A–Z, 0–9 and _, at most 60 of them")
        direction_of(f"validation_{choice.name}")


def optimizer_momentum(run: RunConfig) -> None:
    """Refuse a dampening of a form that has none."""
    form, dampening = (run.optimizer.options[name] for name in ("form", "dampening"))
    if form != "torch" and dampening:
        raise ConfigError(f"optimizer.dampening={dampening} belongs to optimizer.form=torch: leave it out with {form}")


def optimizer_sam(run: RunConfig) -> None:
    """Refuse what does not go with two gradients a step, before any run of a study."""
    refuse_closure(run)


def optimizer_muon(run: RunConfig) -> None:
    """Refuse networks with several first or last layers, of which only one would be AdamW's, or with none between."""
    if run.model.name == "mlp" and len(run.model.options["hidden"]) < 2:
        raise ConfigError(
            "optimizer=muon acts on weights between the first and the last layer: it needs two numbers in model.hidden"
        )
    if run.model.name in ("ensemble", "hard_sharing", "soft_sharing"):
        raise ConfigError(
            f"optimizer=muon leaves the first and the last layer to AdamW, and model={run.model.name} has several of"
            " them: choose another of the two"
        )


def optimizer_schedule_free(run: RunConfig) -> None:
    """Refuse a second average, and a share by which the average cannot be told from the weights in float32."""
    averages = sorted({"ema", "swa"} & {choice.name for choice in run.regularization})
    if averages:
        raise ConfigError(
            "optimizer=schedule_free evaluates an average of the weights already: leave out"
            f" regularization={', '.join(averages)}"
        )
    beta = run.optimizer.options["beta"]
    if beta < 0.01:
        raise ConfigError(
            f"optimizer.beta={beta:g} is too small: the average is computed from the weights by a division by beta, so"
            " that it must be at least 0.01"
        )


def scheduler(run: RunConfig) -> None:
    """Refuse a warm-up as long as the run, one of two lengths, and a smallest rate above the first."""
    warmup, steps = run.scheduler.shared["warmup_epochs"], run.scheduler.shared["warmup_steps"]
    if warmup >= run.epochs:
        raise ConfigError(f"scheduler.warmup_epochs={warmup} leaves nothing of epochs={run.epochs}")
    if warmup and steps:
        raise ConfigError("scheduler.warmup_epochs and scheduler.warmup_steps: give one of them")
    minimum = run.scheduler.options["min_lr"] if run.scheduler.name in FALLING else 0.0
    if minimum > run.lr:
        raise ConfigError(f"scheduler.min_lr={minimum} is above lr={run.lr}")


def scheduler_cyclic(run: RunConfig) -> None:
    """Refuse a warm-up towards a cycle that begins at a rate of zero."""
    _refuse_warm_up_to_zero(run, run.scheduler.options["min_lr"], "with a warm-up set scheduler.min_lr above 0")


def scheduler_triangular(run: RunConfig) -> None:
    """Refuse a warm-up towards a triangle that begins at a rate of zero."""
    scheduler_cyclic(run)


def scheduler_one_cycle(run: RunConfig) -> None:
    """Refuse a cycle of a momentum that the optimizer does not have, and one whose ends are exchanged."""
    options = run.scheduler.options
    if not options["cycle_momentum"]:
        return
    if not has_momentum(run.optimizer):
        raise ConfigError(
            f"scheduler=one_cycle sets the momentum of each step, and optimizer={run.optimizer.name} has none: set"
            " scheduler.cycle_momentum=false, or choose an optimizer with momentum above 0, or betas"
        )
    low, high = options["momenta"]
    if low > high:
        raise ConfigError(f"scheduler.momenta=[{low}, {high}]: the first, at the highest rate, must not be the larger")


def scheduler_factors(run: RunConfig) -> None:
    """Refuse an empty list, and a warm-up towards a first factor of zero."""
    if not run.scheduler.options["factors"]:
        raise ConfigError("scheduler.factors=[] lists no rate: at least one")
    _refuse_warm_up_to_zero(run, run.scheduler.options["factors"][0], "with a warm-up the first factor must be above 0")


def scheduler_plateau(run: RunConfig) -> None:
    """Refuse a run without validation images."""
    split = run.dataset.shared
    if split["folds"] is None and split["validation_size"] == 0:
        raise ConfigError("scheduler=plateau follows the validation loss: it needs a dataset.validation_size above 0")


def augmentation_scale(run: RunConfig) -> None:
    """Refuse an empty range of factors."""
    _refuse_empty_range(run, "scale", "low", "high")


def augmentation_random_erasing(run: RunConfig) -> None:
    """Refuse an empty range of areas or of shapes."""
    _refuse_empty_range(run, "random_erasing", "min_area", "max_area")
    _refuse_empty_range(run, "random_erasing", "min_ratio", "max_ratio")


def augmentation_blur(run: RunConfig) -> None:
    """Refuse an empty range of deviations, and a kernel without a pixel in its middle."""
    _refuse_empty_range(run, "blur", "min_sigma", "max_sigma")
    size = _augmentation(run, "blur")["kernel_size"]
    if size % 2 == 0:
        raise ConfigError(f"augmentation.blur.kernel_size={size} is even: an odd number, such as {size + 1}")


def augmentation_rand_augment(run: RunConfig) -> None:
    """Refuse a strength beyond the last of 31 steps."""
    magnitude = _augmentation(run, "rand_augment")["magnitude"]
    if magnitude > 30:
        raise ConfigError(f"augmentation.rand_augment.magnitude={magnitude} is above 30, the strongest")


def augmentation_aug_mix(run: RunConfig) -> None:
    """Refuse a strength beyond the last of 10 steps."""
    severity = _augmentation(run, "aug_mix")["severity"]
    if severity > 10:
        raise ConfigError(f"augmentation.aug_mix.severity={severity} is above 10, the strongest")


def _augmentation(run: RunConfig, name: str) -> Mapping[str, Any]:
    return next(choice.options for choice in run.augmentation if choice.name == name)


def _refuse_empty_range(run: RunConfig, name: str, low: str, high: str) -> None:
    """Refuse an augmentation whose setting `low` is above its setting `high`."""
    options, prefix = _augmentation(run, name), f"augmentation.{name}"
    if options[low] > options[high]:
        raise ConfigError(f"{prefix}.{low}={options[low]} is above {prefix}.{high}={options[high]}")


def _refuse_warm_up_to_zero(run: RunConfig, first: float, advice: str) -> None:
    """Refuse a warm-up if the rate after it, or the factor on it, is `first` = 0: no step of it would train."""
    warmup = run.scheduler.shared["warmup_epochs"] or run.scheduler.shared["warmup_steps"]
    if warmup and first == 0:
        raise ConfigError(f"scheduler={run.scheduler.name} starts at a rate of 0: {advice}")
