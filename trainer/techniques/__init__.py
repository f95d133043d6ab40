"""The techniques that are compared: one module for each config group, and the places in a step where they act."""
