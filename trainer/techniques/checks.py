"""The checks of techniques that contradict another setting. Imports no torch: a mistake is reported without waiting.

A function named after a config group is called for every run, and one named `<group>_<option>` for the runs that have
chosen that option. Each takes the checked run and raises ConfigError with one line.
"""

from collections.abc import Mapping
from typing import Any

from trainer.config.directions import direction_of
from trainer.config.run_config import RunConfig
from trainer.config.schema import shared_parameters
from trainer.config.settings import is_of_kind
from trainer.config.types import Figure
from trainer.errors import ConfigError
from trainer.techniques.image_sizes import refuse_uneven, smallest_side
from trainer.techniques.remedies import WIDTHS, has_momentum, size_read

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


def model(run: RunConfig) -> None:
    """Refuse images too small for the network, or not made of whole patches, before they are read."""
    side, options = size_read(run.dataset), run.model.options
    if run.model.own or side is None:
        return
    if side < (least := smallest_side(run.model.name, options)):
        raise ConfigError(f"model={run.model.name} needs dataset.image_size of at least {least}")
    if "patch_size" in options:
        refuse_uneven(run.model.name, options["patch_size"], side, side)


def model_lecture_cnn(run: RunConfig) -> None:
    """Refuse a network without a convolution."""
    if not run.model.options["channels"]:
        raise ConfigError("model.channels=[] lists no convolution: at least one, or model=mlp")


def model_hard_sharing(run: RunConfig) -> None:
    """Refuse a network without a convolution."""
    model_lecture_cnn(run)


def model_soft_sharing(run: RunConfig) -> None:
    """Refuse a network without a convolution."""
    model_lecture_cnn(run)


def model_wide_resnet(run: RunConfig) -> None:
    """Refuse a depth that three stages of whole blocks do not have."""
    depth = run.model.options["depth"]
    if depth < 10 or depth % 6 != 4:
        raise ConfigError(f"model.depth={depth}: wide_resnet has 6n + 4 layers, such as 10, 16, 22, 28 or 40")


def model_vit(run: RunConfig) -> None:
    """Refuse heads that do not share the features evenly."""
    width, heads = run.model.options["width"], run.model.options["heads"]
    if width % heads:
        raise ConfigError(f"model.heads={heads} must divide model.width={width}")


def model_ensemble(run: RunConfig) -> None:
    """Refuse techniques that see only one member's loss or scale the gradients of all together."""
    model_lecture_cnn(run)
    joint = {"label_smoothing", "gradient_clipping", "r_drop"} & {choice.name for choice in run.regularization}
    if joint:
        raise ConfigError(
            f"model=ensemble trains its members apart: leave out regularization={', '.join(sorted(joint))}"
        )


def regularization_label_smoothing(run: RunConfig) -> None:
    """Refuse another loss: the penalty is the difference between two cross-entropies."""
    if run.loss.name != "cross_entropy":
        raise ConfigError(
            f"regularization=label_smoothing smooths the labels of loss=cross_entropy: leave it out with"
            f" loss={run.loss.name}"
        )


def regularization_r_drop(run: RunConfig) -> None:
    """Refuse another loss than that of the second pass, and a network whose two passes are equal."""
    if run.loss.name != "cross_entropy":
        raise ConfigError(
            f"regularization=r_drop adds the cross-entropy of a second pass: leave it out with loss={run.loss.name}"
        )
    chosen = {choice.name for choice in run.regularization}
    own = any(choice.own for choice in (run.model, *run.regularization))
    if not (run.dropout or own or chosen & {"stochastic_depth", "input_dropout", "drop_block"}):
        raise ConfigError("regularization=r_drop compares two passes, which are equal with dropout=0: set dropout=0.3")


def regularization_swa(run: RunConfig) -> None:
    """Refuse a second average, of which only one could be evaluated."""
    if "ema" in {choice.name for choice in run.regularization}:
        raise ConfigError("regularization=[ema,swa]: one average is evaluated, choose one of the two")


def regularization_weight_standardization(run: RunConfig) -> None:
    """Refuse a network without normalization: weights of variance 1 enlarge the features √inputs times a layer."""
    if run.normalization.name in ("none", "weight"):
        raise ConfigError(
            "regularization=weight_standardization needs features that are normalized after the convolution:"
            f" normalization=group, batch, layer, instance or rms, not {run.normalization.name}"
        )


def init_fixup(run: RunConfig) -> None:
    """Refuse a normalization, which it stands in for, and a division by the norm of weights that are zero."""
    if run.normalization.name != "none":
        raise ConfigError(
            f"init=fixup trains residual networks without a normalization: normalization={run.normalization.name} and"
            " it stand in for each other, choose one"
        )
    _refuse_spectral_norm(run, "has weights of zero, whose norm cannot be divided by")


def init_zeros(run: RunConfig) -> None:
    """Refuse a division by the norm of weights that are zero."""
    if run.normalization.name == "weight":
        raise ConfigError(
            "init=zeros has weights of zero, which normalization=weight cannot give a length: choose another"
        )
    _refuse_spectral_norm(run, "has weights of zero, whose norm cannot be divided by")


def init_lsuv(run: RunConfig) -> None:
    """Refuse layers that compute with the same weight whatever its scale."""
    _refuse_spectral_norm(run, "scales weights, which changes nothing there")
    if "weight_standardization" in {choice.name for choice in run.regularization}:
        raise ConfigError("init=lsuv scales weights: leave out regularization=weight_standardization, which undoes it")


def _refuse_spectral_norm(run: RunConfig, reason: str) -> None:
    if "spectral_norm" in {choice.name for choice in run.regularization}:
        raise ConfigError(f"init={run.init.name} {reason}: leave out regularization=spectral_norm or choose another")


def metric(run: RunConfig) -> None:
    """Refuse a name that no figure can have, and a metric that does not say which values are better."""
    for choice in run.metric:
        if choice.name in ("loss", "accuracy", "cross_entropy"):
            raise ConfigError(f"metric={choice.name}: validation_{choice.name} is another figure, rename it")
        if not is_of_kind(Figure, f"validation_{choice.name}"):
            raise ConfigError(f"metric={choice.name}: the name of a metric has a–z, A–Z, 0–9 and _, at most 60 of them")
        direction_of(f"validation_{choice.name}")


def normalization_batch(run: RunConfig) -> None:
    """Refuse batches of one image, whose variance over the batch is zero."""
    if run.batch_size == 1:
        raise ConfigError("normalization=batch needs batch_size of at least 2: one image has no batch statistics")


def normalization_group(run: RunConfig) -> None:
    """Refuse groups that do not divide the channels of every layer."""
    groups = run.normalization.options["num_groups"]
    pieces = run.activation.options["pieces"] if run.activation.name == "maxout" else 1
    options = [run.model.options[key] for key in WIDTHS.get(run.model.name, ())]
    widths = [width for option in options for width in (option if isinstance(option, tuple) else (option,))]
    # maxout takes `pieces` channels for each that it puts out, and they are normalized before it
    if any(width * pieces % groups for width in widths):
        raise ConfigError(
            f"normalization.num_groups={groups} must divide the layers of model={run.model.name}: {widths}"
        )


def normalization_instance(run: RunConfig) -> None:
    """Refuse a network without feature maps, in which it would do nothing."""
    if run.model.name == "mlp":
        raise ConfigError("normalization=instance acts on feature maps, model=mlp has none: choose layer or rms")


def optimizer_momentum(run: RunConfig) -> None:
    """Refuse a dampening of a form that has none."""
    form, dampening = (run.optimizer.options[name] for name in ("form", "dampening"))
    if form != "torch" and dampening:
        raise ConfigError(f"optimizer.dampening={dampening} belongs to optimizer.form=torch: leave it out with {form}")


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
