"""A study as a W&B report: the verdict in words, the curves of its group, the table of arms. Needs an account."""

import contextlib
import io
from pathlib import Path
from typing import Any

from trainer.config.run_config import WandbConfig
from trainer.errors import ConfigError, RunError
from trainer.records.wandb_connection import default_entity, why_not_online
from trainer.records.wandb_mirror import wandb_mirror
from trainer.reports.content import Content, of_study
from trainer.reports.page import rows, texts, titles
from trainer.study.manifest import Manifest

PANELS = ("validation_accuracy", "validation_loss", "train_accuracy", "train_loss", "lr")


def publish(content: Content) -> str:
    """Creates the report in the project of the study's runs; its address.

    Raises ConfigError where the package is missing, RunError without an API key or a server that takes it.
    """
    given = content.arms[0].runs[0].config["wandb"]
    if given["mode"] == "disabled":
        raise ConfigError(f"--wandb: {content.folder} was run with wandb.mode=disabled, W&B knows nothing of it")
    try:
        import wandb_workspaces.reports.v2.interface as wr
    except ImportError:
        needed = "pip install 'ablation-trainer[report]'"
        raise ConfigError(f"--wandb: needs the package wandb-workspaces: {needed}") from None
    reason = why_not_online()
    if reason:
        raise RunError(f"--wandb: {reason}")
    try:
        entity = given["entity"] or default_entity()
        report = wr.Report(given["project"], entity or "", content.title, " ".join(content.verdict[:1]))
        report.blocks = _blocks(wr, content, entity or "", given["project"])
        with contextlib.redirect_stderr(io.StringIO()):  # the client says in its own words what is said here
            report.save()
    except Exception as error:  # the client raises a dozen kinds
        raise RunError(f"--wandb: W&B did not take the report: {(str(error).splitlines() or [''])[0]}") from None
    return str(report.url)


def _blocks(wr: Any, content: Content, entity: str, project: str) -> list[Any]:
    runs = wr.Runset(entity, project, name=content.folder.name, filters=f"Group == '{content.folder.name}'")
    panels = [wr.LinePlot(title=key.replace("_", " "), x="epoch", y=[key]) for key in PANELS]
    table = [titles(content), ["---"] * len(titles(content)), *texts(rows(content))]
    return [
        wr.H2("What the runs can tell"),
        wr.UnorderedList(content.verdict),
        *(wr.P(f"{line}.") for line in content.footnotes),
        wr.H2("Learning curves"),
        wr.PanelGrid(runsets=[runs], panels=panels),
        wr.H2("Arms"),
        wr.MarkdownBlock("\n".join(f"| {' | '.join(row)} |" for row in table)),
    ]


def log_verdict(folder: Path) -> None:
    """Send the verdict of the study in `folder` to W&B: the notes of a run named "verdict", and the table of arms."""
    study, content = Manifest.read(folder), of_study(folder, search=False)
    given = WandbConfig(**study.entries[0].config["wandb"])
    notes = "\n".join([*content.verdict, *content.footnotes])
    about = given.model_copy(update={"name": "verdict", "notes": notes, "tags": (*given.tags, "verdict")})
    with wandb_mirror(about, {}, folder, folder.name.rpartition("-")[2]) as mirror:
        mirror.tabulate("arms", titles(content), texts(rows(content)))
