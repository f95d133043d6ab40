"""Settings that are accepted and are hardly meant: a warning before the run names them. Imports no torch."""

from collections.abc import Iterator

from trainer.config.run_config import RunConfig
from trainer.techniques.idle import idle_settings


def doubtful_settings(run: RunConfig) -> list[str]:
    """Return a sentence for each setting that does not suit the data, and for each that can never act."""
    return [*_unfit_augmentation(run), *idle_settings(run)]


def _unfit_augmentation(run: RunConfig) -> Iterator[str]:
    """Look for augmentations of which the data set says that they change what its images show."""
    for choice in run.augmentation:
        if choice.name in run.unfit_augmentation:
            yield (
                f"augmentation={choice.name} does not suit dataset={run.dataset.name}: it changes what an image shows,"
                f" and the label stays (unfit_augmentation=[{','.join(run.unfit_augmentation)}])"
            )
