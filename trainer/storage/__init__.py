"""Checkpoints, and the validation of files that may come from elsewhere."""
