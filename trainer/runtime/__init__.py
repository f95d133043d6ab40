"""Process, signals, streams, console, files, locks, seeds and memory. Imports no torch."""
