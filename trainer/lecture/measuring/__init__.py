"""The measures of a claim: of a run's epochs, weights, layers and trained network, and their reductions."""
