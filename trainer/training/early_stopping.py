"""Early stopping after too many validations without progress. Imports no torch."""

import math
from typing import Any


class EarlyStopping:
    """The count of validations without progress, and the best one.

    Progress is a loss below the reference, which is the loss at the last progress, by more than `min_delta`. The lowest
    loss is kept apart from the reference: a smaller improvement is saved as the best, though it is no progress. With
    `patience` None training never stops early.
    """

    def __init__(self, patience: int | None, min_delta: float) -> None:
        self.patience, self.min_delta = patience, min_delta
        self.best_loss, self.best_epoch, self.best_accuracy = math.inf, 0, math.nan
        self.reference, self.waited = math.inf, 0  # loss at the last progress, validations since

    def observe(self, epoch: int, loss: float, accuracy: float) -> bool:
        """Count a validation; return whether it is the best so far, as the first one always is."""
        self.waited += 1
        if loss < self.reference - self.min_delta:
            self.reference, self.waited = loss, 0
        if loss < self.best_loss or self.best_epoch == 0:
            # No loss is below NaN, so a NaN at the first validation would stay the best for ever.
            self.best_loss = math.inf if math.isnan(loss) else loss
            self.best_epoch, self.best_accuracy = epoch, accuracy
            return True
        return False

    @property
    def exhausted(self) -> bool:
        """True when training is to stop."""
        return self.patience is not None and self.waited >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """Return the state without the two settings, which a resumed run may change."""
        return {key: value for key, value in vars(self).items() if key not in ("patience", "min_delta")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state."""
        vars(self).update(state)
