"""The folder of a run: all that is written to it, read from it or shown of it."""
