"""Settings that some models of a comparison have no place for, as another one has."""

from collections.abc import Callable, Collection, Iterator, Sequence

from trainer.config.run_config import RunConfig
from trainer.data.images import Images
from trainer.techniques.layers import Slots
from trainer.training.network import ignored_slots


def ignored_by_some(
    names: Sequence[str], configs: Sequence[RunConfig], given: Collection[str], images: Callable[[RunConfig], Images]
) -> Iterator[str]:
    """Yield a sentence for each setting that was given, and that some of these arms use and others ignore."""
    asked = [slot for slot in Slots.NAMES if slot in given]
    if not asked or len({str(config.model) for config in configs}) < 2:
        return
    ignored = [ignored_slots(config, images(config)) for config in configs]
    for slot in asked:
        without = [name for name, slots in zip(names, ignored, strict=True) if slot in slots]
        having = [name for name, slots in zip(names, ignored, strict=True) if slot not in slots]
        if without and having:
            yield f"{slot} is given, and {without[0]} has no place for it, while {having[0]} has"
