"""Early stopping: when a run has seen enough validations without progress. Imports no torch."""

import math
from typing import Any


class EarlyStopping:
    """Counts validations without progress: those not below the last reference loss by more than `min_delta`.

    The lowest loss of all is kept apart, so that a small improvement is saved though it does not count as
    progress. A NaN is never an improvement. With `patience` None it only keeps the best.
    """

    def __init__(self, patience: int | None, min_delta: float) -> None:
        self.patience, self.min_delta = patience, min_delta
        self.best_loss, self.best_epoch, self.best_accuracy = math.inf, 0, math.nan
        self.reference, self.waited = math.inf, 0

    def observe(self, epoch: int, loss: float, accuracy: float) -> bool:
        """Whether this is the best so far. The first validation always is, so that there is a best to keep."""
        self.waited += 1
        if loss < self.reference - self.min_delta:
            self.reference, self.waited = loss, 0
        if loss < self.best_loss or self.best_epoch == 0:
            # A NaN here would be undercut by nothing: whatever comes next counts as better.
            self.best_loss = math.inf if math.isnan(loss) else loss
            self.best_epoch, self.best_accuracy = epoch, accuracy
            return True
        return False

    @property
    def exhausted(self) -> bool:
        return self.patience is not None and self.waited >= self.patience

    def state_dict(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("patience", "min_delta")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
