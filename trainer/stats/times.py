"""The metrics that say how long a run takes to its target, `sweep.target`. Imports no torch."""

# Of the metric's name in records: what is counted.
TIMES = {f"validation_{what}_to_target": what for what in ("steps", "seconds", "gradients", "images")}
LENGTH = "validation_time_of_whole_run"  # recorded beside it, in the same unit
REACHED = "validation_target_reached"  # recorded beside it: 1 if the run reached the target, else 0
