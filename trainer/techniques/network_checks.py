"""The checks of models, normalization, initialization and regularization that contradict another setting.

They are called as those of checks.py, by their names. Imports no torch.
"""

from trainer.config.run_config import RunConfig
from trainer.errors import ConfigError
from trainer.runtime.text import counted
from trainer.techniques.image_sizes import refuse_uneven, smallest_side
from trainer.techniques.remedies import FEW_CONVOLUTIONS, RESIDUAL, WIDTHS, size_read


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
    """Refuse techniques that see only one member's loss or take the gradients of all together."""
    model_lecture_cnn(run)
    joint = {"label_smoothing", "gradient_clipping", "r_drop"} & {choice.name for choice in run.regularization}
    if joint:
        raise ConfigError(
            f"model=ensemble trains its members apart: leave out regularization={', '.join(sorted(joint))}"
        )
    if run.optimizer.name == "sam":
        raise ConfigError("model=ensemble trains its members apart, and optimizer=sam goes by the gradient of them all")


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
    if run.model.name in ("mlp", "vit"):
        raise ConfigError(
            f"normalization=instance acts on feature maps, model={run.model.name} has none behind a layer: choose layer"
            " or rms"
        )


def init_fixup(run: RunConfig) -> None:
    """Refuse a normalization, which it stands in for, and a division by the norm of weights that are zero."""
    if run.normalization.name != "none":
        raise ConfigError(
            f"init=fixup trains residual networks without a normalization: normalization={run.normalization.name} and"
            " it stand in for each other, choose one"
        )
    _refuse_without_branches(run, "init=fixup is made for residual branches")
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


def regularization_stochastic_depth(run: RunConfig) -> None:
    """Refuse a network without residual branches."""
    _refuse_without_branches(run, "regularization=stochastic_depth leaves out residual branches")


def regularization_drop_block(run: RunConfig) -> None:
    """Refuse a network with less than two convolutions in a row."""
    _refuse_fewer_convolutions(run, 2, "regularization=drop_block acts between convolutions")


def _refuse_without_branches(run: RunConfig, reason: str) -> None:
    """Refuse a model that is known to have no residual branch; those of others are looked at when they are built."""
    name = run.model.name
    if name in WIDTHS and name not in (*RESIDUAL, "timm"):
        raise ConfigError(f"{reason}: model={name} has none, choose one of {', '.join(RESIDUAL)}")


def _refuse_fewer_convolutions(run: RunConfig, least: int, reason: str) -> None:
    """Refuse a model that is known to have fewer than `least` convolutions in a row."""
    name, few = run.model.name, FEW_CONVOLUTIONS.get(run.model.name, least)
    if "channels" in WIDTHS.get(name, ()) and name not in FEW_CONVOLUTIONS:
        few = len(run.model.options["channels"])  # of each member, or of each task
    if few < least:
        raise ConfigError(f"{reason}: model={name} has {counted(few, 'convolution')}, choose another model")


def regularization_weight_standardization(run: RunConfig) -> None:
    """Refuse a network without normalization: weights of variance 1 enlarge the features √inputs times a layer."""
    _refuse_fewer_convolutions(run, 1, "regularization=weight_standardization acts on convolutions")
    if run.normalization.name in ("none", "weight"):
        raise ConfigError(
            "regularization=weight_standardization needs features that are normalized after the convolution:"
            f" normalization=group, batch, layer, instance or rms, not {run.normalization.name}"
        )
