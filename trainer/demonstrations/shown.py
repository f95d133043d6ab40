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
    lr / (1 − β); the others have a rate that suits them there. The button plays the steps, the slider selects one, a
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


def grid_cost(*, values: int = 3, settings: int = 8, minutes: float = 10.0) -> Shown:
    """Cost of a grid search by the number of settings.

    A grid tries every combination, so that each further setting multiplies the number of trainings.

    `values`: of each setting. `settings`: the largest number of them. `minutes`: of one training.
    """
    from trainer.demonstrations import search_cost

    return search_cost.show(values, settings, minutes)
