"""The demonstrations: a function for each, whose keyword-only parameters are its options. Imports no torch by itself.

The first sentence of a docstring is the title, what follows the introduction, and the text after an option its help.
"""

from trainer.demonstrations.figures import Shown


def gradient_descent(
    *, start: float = 10.0, rate: float = 0.2, count: int = 10, others: tuple[float, ...] = (0.02, 0.45, 0.9, 1.1)
) -> Shown:
    """Gradient descent on x².

    f(x) = x² with gradient 2x: the step x ← x − rate·2x, taken by the project's sgd, multiplies x by 1 − 2·rate. By
    that factor it creeps, converges, oscillates or diverges. The ring is the start.

    `start`: the x it begins with. `rate`: the learning rate. `count`: the number of steps. `others`: further rates.
    """
    from trainer.demonstrations import gradient_descent as made

    return made.show(start, rate, count, others)


def optimizer_paths(*, surface: tuple[str, ...] = (), lr: tuple[str, ...] = (), steps: int | None = None) -> Shown:
    """Paths of the optimizers over a ravine, a saddle and a local minimum.

    Each path begins at the ring; × marks a minimum. sgd, momentum and nesterov have the same effective rate,
    lr/(1−β); the others have a rate that suits them there. The button plays the steps, the slider selects one, a
    click on a name hides its path.

    `surface`: ravine, saddle or local_minimum, all if none is named. `lr`: 0.1 for all optimizers, or adam=0.1 for one
    of them. `steps`: how many, if not those that suit each surface.
    """
    from trainer.demonstrations import optimizer_paths as made

    return made.show(surface, lr, steps)


def loss_landscape(
    *,
    run: str | None = None,
    radius: float = 1.0,
    resolution: int = 25,
    images: int = 500,
    seed: int = 0,
    device: str = "auto",
    data_dir: str | None = None,
) -> Shown:
    """Loss around a trained network.

    The validation loss along two random directions, each scaled filter by filter to the norm of the weights (Li et al.
    2018), so that landscapes of different networks can be compared: at distance 1 a filter has moved by its own norm.
    Biases and normalization layers are unchanged. Without a run, a small network is trained on the digits first.

    `run`: the folder of a run, or a checkpoint. `radius`: from -radius to radius. `resolution`: points along each
    direction, an odd number. `images`: of the validation. `seed`: of the directions. `device`: auto, cpu, mps, cuda or
    cuda:N. `data_dir`: where the data lie, if not where the run had them.
    """
    from trainer.demonstrations import loss_landscape as made

    return made.show(run, radius, resolution, images, seed, device, data_dir)


def augmentations(*, settings: tuple[str, ...] = (), images: int = 8, seed: int = 0) -> Shown:
    """Training images under every augmentation.

    The first row shows the images as they are, each further row an augmentation of conf/augmentation with its own
    settings.

    `settings`: of a run: the data set, or an option of an augmentation. `images`: a class after the other. `seed`: of
    the augmentation.
    """
    from trainer.demonstrations import augmentations as made

    return made.show(settings, images, seed)


def dropout(*, settings: tuple[str, ...] = (), layer: int | None = None, images: int = 16) -> Shown:
    """Mask, scale and kept mean of a dropout layer.

    The activations that enter a dropout layer of the untrained network, for real images, and its output in training: a
    share p is dropped and the rest scaled by 1 / (1 − p), so that the mean is the same as in evaluation.

    `settings`: of a run, such as dropout=0.2. `layer`: which of the dropout layers, the last if none is named.
    `images`: how many.
    """
    from trainer.demonstrations import dropout as made

    return made.show(settings, layer, images)


def normalization(*, settings: tuple[str, ...] = (), images: int = 256) -> Shown:
    """Activations of each layer, without and with each normalization.

    The values that come to each layer's activation, before training, for a batch of real images: without normalization
    they shrink or grow from layer to layer, and the gradients with them. An mlp with eight hidden layers shows it
    clearly.

    `settings`: of a run, in place of the deep mlp on the digits. `images`: in the batch.
    """
    from trainer.demonstrations import normalization as made

    return made.show(settings, images)


def moving_average(
    *,
    values: tuple[float, ...] = (150.0, 210.0, 320.0, 175.0, 140.0, 250.0, 230.0, 130.0, 300.0, 280.0, 350.0, 230.0),
    alpha: tuple[float, ...] = (0.2, 0.5, 0.8),
) -> Shown:
    """Exponential moving average of a list of values, for several α.

    g ← α·g + (1 − α)·l, from g = 0: the average that rmsprop and Adam keep of squared gradients, and
    regularization=ema of weights. A large α is smooth and slow, a small one fast and noisy. The values are those of
    lecture note 003.

    `values`: the list. `alpha`: one or several.
    """
    from trainer.demonstrations import moving_average as made

    return made.show(values, alpha)


def grid_cost(*, values: int = 3, dimensions: int = 8, minutes: float = 10.0) -> Shown:
    """Cost of a grid search by the number of settings.

    A grid tries every combination, so that each further setting multiplies the number of trainings.

    `values`: of each setting. `dimensions`: the largest number of settings. `minutes`: of one training.
    """
    from trainer.demonstrations import search_cost

    return search_cost.show(values, dimensions, minutes)


def ravine_momentum(*, rate: float = 0.45, faster: float = 0.6, steps: int = 40) -> Shown:
    """Momentum in a ravine, at the same effective rate as gradient descent.

    The surface is 0.05x² + 2y², forty times steeper across than along. The effective rate is lr/(1−β): momentum
    with β = 0.9 has a tenth of the learning rate of gradient descent, so that both go equally far on an even slope.

    `rate`: the effective rate. `faster`: a rate at which gradient descent diverges. `steps`: how many.
    """
    from trainer.demonstrations import ravine

    return ravine.show(rate, faster, steps)


def nesterov_overshoot(*, beta: float = 0.9, quadratics: int = 31, steps: int = 400) -> Shown:
    """How far momentum and Nesterov's momentum run past a minimum.

    Both start at rest at x = 1 on f(x) = h·x²/2, with the same learning rate and β, for many curvatures h.

    `beta`: the share of the velocity that is kept. `quadratics`: how many curvatures, lr·h from 0.001 to 1. `steps`: of
    each path.
    """
    from trainer.demonstrations import overshoot

    return overshoot.show(beta, quadratics, steps)


def local_minimum_momentum(*, starts: int = 200, steps: int = 600, seed: int = 0) -> Shown:
    """Momentum and the way out of a local minimum.

    The surface x⁴/4 − x²/2 − 0.15x + y²/2 has a local and a global minimum with a rise between them. All starts are
    drawn from the basin of the local one; gradient descent and momentum have the same effective rate lr/(1−β).

    `starts`: how many. `steps`: of each path. `seed`: of the starts.
    """
    from trainer.demonstrations import escape

    return escape.by_momentum(starts, steps, seed)


def local_minimum_noise(
    *, noise: float = 3.0, lr: float = 0.05, steps: int = 300, walks: int = 200, seed: int = 0
) -> Shown:
    """Noise of small batches and the way out of a local minimum.

    The same surface with a noisy gradient, as mini-batches have it: of standard deviation noise/√n for n examples.
    Every walk begins in the local minimum, where the true gradient is 0. Walks of all batch sizes have equally many
    steps, so that a larger batch sees more examples.

    `noise`: its standard deviation for one example. `lr`: the learning rate. `steps`: of each walk. `walks`: how many.
    `seed`: of the noise.
    """
    from trainer.demonstrations import escape

    return escape.by_noise(noise, lr, steps, walks, seed)


def saddle_escape(*, rate: float = 0.1, starts: int = 200, steps: int = 400, seed: int = 0) -> Shown:
    """Steps to leave a saddle, by optimizer.

    On x²/2 − y²/2 + y⁴/4 the gradient across is as small as the distance from the ridge y = 0. Adagrad, RMSProp and
    Adam divide it by its own size; their learning rates are at most a tenth of that of gradient descent.

    `rate`: of gradient descent, and the effective rate of momentum. `starts`: how many, 1e-6 to 1e-2 from the ridge.
    `steps`: at most. `seed`: of the starts.
    """
    from trainer.demonstrations import saddle

    return saddle.show(rate, starts, steps, seed)


def adam_bias_correction(*, lr: float = 0.001, beta1: float = 0.9, beta2: float = 0.999, steps: int = 5000) -> Shown:
    """Adam's first steps with and without bias correction.

    The moments begin at 0 and are too small at first. The gradient stays 1, so that the right size of each step is
    the learning rate.

    `lr`: the learning rate. `beta1`: of the first moment. `beta2`: of the second moment. `steps`: how many.
    """
    from trainer.demonstrations import bias_correction

    return bias_correction.show(lr, beta1, beta2, steps)


def dropout_expectation(*, p: float = 0.4, units: int = 8, seed: int = 0) -> Shown:
    """Expectation of dropout over all masks.

    A layer of n units has 2ⁿ masks. Each is weighted by its probability, as lecture note 003 does by hand for two
    units; inverted dropout divides what is kept by 1 − p.

    `p`: the probability to drop a unit. `units`: of the layer. `seed`: of activations and weights.
    """
    from trainer.demonstrations import dropout_masks

    return dropout_masks.show(p, units, seed)


def batch_gradient_variance(*, batches: int = 50, seed: int = 0) -> Shown:
    """Variance of the gradient by batch size.

    The gradient of random batches of the digits, for a small network before training, beside that of all training
    images. The update of gradient descent is this gradient times the learning rate.

    `batches`: of each size. `seed`: of network and batches.
    """
    from trainer.demonstrations import gradient_noise

    return gradient_noise.show(batches, seed)


def one_pass(*, examples: int = 20, rate: float = 0.05, problems: int = 200, seed: int = 0) -> Shown:
    """One pass with an update for each example, against one update for all.

    Linear regression with the mean squared error on random problems: stochastic gradient descent updates after each
    example, gradient descent after seeing all.

    `examples`: of a problem. `rate`: the learning rate of both. `problems`: how many. `seed`: of the problems.
    """
    from trainer.demonstrations import one_pass as made

    return made.show(examples, rate, problems, seed)


def bias_variance(*, examples: int = 50, noise: float = 0.3, degree: int = 9, sets: int = 300, seed: int = 0) -> Shown:
    """Bias and variance by the size of a model.

    Polynomials are fitted with the squared error to noisy points of sin(πx), anew for many training sets. Bias² is the
    squared distance of the mean fit from the curve, variance the spread of the fits around their mean.

    `examples`: of a training set. `noise`: its standard deviation. `degree`: the largest one. `sets`: training sets.
    `seed`: of the training sets.
    """
    from trainer.demonstrations import bias_variance as made

    return made.show(examples, noise, degree, sets, seed)


def cross_validation(*, images: int = 100, folds: int = 5, draws: int = 100, seed: int = 0) -> Shown:
    """Error of one validation split and of k folds.

    A linear classifier is fitted to a few digits, a part of which is held out: once, or each part in turn. Its accuracy
    there is held against that on hundreds of images that were not drawn.

    `images`: at hand. `folds`: parts. `draws`: of the images. `seed`: of the draws.
    """
    from trainer.demonstrations import cross_validation as made

    return made.show(images, folds, draws, seed)
