"""The checks of own techniques before they are used: each promise of the trainer, tried in seconds on digits."""
