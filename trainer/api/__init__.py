"""The program as a library: compose, train, study and load. Imports no torch before something is trained or loaded."""

from trainer.api.folders import load
from trainer.api.runs import Run, train
from trainer.api.settings import compose
from trainer.api.studies import Pair, Study, Verdict, study

__all__ = ["Pair", "Run", "Study", "Verdict", "compose", "load", "study", "train"]
