"""The test set: its ledger, inference, the final training and its card, export."""
