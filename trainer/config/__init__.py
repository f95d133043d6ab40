"""From arguments to a checked run. Imports no torch."""
