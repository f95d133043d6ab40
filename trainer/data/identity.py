"""The data of a run in a few plain values that its checkpoint keeps, and how two such records differ."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.data.images import Images

NAMES = 8  # classes that are listed; of more, only those that came and went


def identity_of(images: Images, training: Images, validation: Images | None) -> dict[str, Any]:
    """Return the fingerprint of all images, and the number of training and validation images of each class."""
    return {
        "fingerprint": images.fingerprint,
        "training": training.class_counts(),
        "validation": {} if validation is None else validation.class_counts(),
    }


def data_differences(then: Any, now: Mapping[str, Any]) -> list[str]:
    """Return phrases such as "36 → 54 training images" for what differs between two records, none if they are equal.

    `then` is of a checkpoint, which may be untrusted. Raises ValueError if it has another form.
    """
    _refuse_malformed(then)
    if then == now:
        return []
    phrases = []
    for part in ("training", "validation"):
        old, new = (sum(each[part].values()) for each in (then, now))
        phrases += [f"{old} → {new} {part} images"] if old != new else []
    old_classes, new_classes = list(then["training"]), list(now["training"])
    if old_classes != new_classes:
        return [*phrases, _class_change(old_classes, new_classes)]
    if not phrases:
        phrases = [
            f"class {name}: {then[part][name]} → {count} {part} images"
            for part in ("training", "validation")
            for name, count in now[part].items()
            if then[part].get(name) != count
        ]
        phrases = [*phrases[:NAMES], *["…"] * (len(phrases) > NAMES)]
    return phrases or ["as many images of each class, with other pixels or labels"]


def _class_change(old: Sequence[str], new: Sequence[str]) -> str:
    if len(old) <= NAMES and len(new) <= NAMES:
        return f"classes {', '.join(old)} → {', '.join(new)}"
    gone = [f"without {name}" for name in old if name not in new]
    added = [f"with {name}" for name in new if name not in old]
    changes = [*gone, *added] or ["in another order"]
    listed = ", ".join(changes[:NAMES]) + (", …" if len(changes) > NAMES else "")
    return f"{len(old)} → {len(new)} classes, {listed}"


def _refuse_malformed(record: Any) -> None:
    parts = ("training", "validation")
    if not isinstance(record, dict) or record.keys() != {"fingerprint", *parts}:
        raise ValueError(f"provenance.data must hold fingerprint, {', '.join(parts)}")
    for part in parts:
        counts = record[part]
        if not isinstance(counts, dict) or any(type(count) is not int for count in counts.values()):
            raise ValueError(f"provenance.data.{part} must hold the number of images of each class")
