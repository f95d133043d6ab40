"""The networks and the layers that the functions of `model`, `init`, `normalization` and `regularization` build."""
