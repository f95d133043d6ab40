"""The results of claims on disk: `claims/NAME.json` in the folder of a book. Imports no torch."""

from dataclasses import asdict

from pydantic import BaseModel, TypeAdapter, ValidationError, model_validator

from trainer.lecture.content import VERDICTS, ClaimResult
from trainer.lecture.task import Task
from trainer.runtime.files import write_text


class _Saved(BaseModel):
    identity: str
    result: ClaimResult

    @model_validator(mode="after")
    def _has_known_verdicts(self) -> "_Saved":
        if not {self.result.verdict, *(each.verdict for each in self.result.statements)} <= {*VERDICTS}:
            raise ValueError(f"verdict: must be one of {', '.join(VERDICTS)}")
        return self


def save(task: Task, result: ClaimResult) -> None:
    """Write the result of a claim. Raises RunError if that is not possible."""
    tree = {"identity": task.identity, "result": asdict(result)}
    write_text(task.record, TypeAdapter(dict).dump_json(tree, indent=1).decode() + "\n")


def saved(task: Task) -> tuple[ClaimResult | None, bool]:
    """Return the saved result of a claim, and whether it is that of the present claim, words and program.

    None if there is none, or the file is damaged: the claim is then tested again, which trains no finished run.
    """
    try:
        found = _Saved.model_validate_json(task.record.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError):
        return None, False
    return found.result, found.identity == task.identity
