"""The folder of a run and everything that is written to it or read from it."""
