"""Measures that use a trained network anew, on images of its validation part. The test set is never read."""

from trainer.lecture.runs import RunRecord  # noqa: F401
