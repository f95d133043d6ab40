"""Update rules, averages and noise of a training step, for the functions of `optimizer` and `regularization`."""
