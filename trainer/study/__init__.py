"""A multirun as a study."""
