"""The names of a run's files that more than one module needs. Imports nothing heavy."""

LAST, BEST, DESCRIBED = "last.safetensors", "best.safetensors", "best.json"
