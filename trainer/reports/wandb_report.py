"""A study in W&B: a report with verdict, curves and table of arms, which needs an account; the verdict of a sweep."""

import contextlib
import io
from pathlib import Path
from typing import Any

from trainer.config.run_config import WandbConfig
from trainer.errors import ConfigError, RunError
from trainer.records.wandb_connection import default_entity, why_not_online
from trainer.records.wandb_environment import client_environment
from trainer.records.wandb_mirror import wandb_mirror
from trainer.reports.content import Content, of_study
from trainer.reports.page import rows, texts, titles
from trainer.study.manifest import Manifest

PANELS = ("validation_accuracy", "validation_loss", "train_accuracy", "train_loss", "lr")


def publish(content: Content) -> str:
    """Create the report in the project of the study's runs and return its address.

    Raises ConfigError if the package is missing, RunError without an API key or a server that accepts it.
    """
    settings = content.arms[0].runs[0].config["wandb"]
    if settings["mode"] == "disabled":
        raise ConfigError(f"--wandb: {content.folder} was run with wandb.mode=disabled, so W&B has none of its runs")
    try:
        import wandb_workspaces.reports.v2.interface as wr
    except ImportError:
        needed = "pip install 'ablation-trainer[report]'"
        raise ConfigError(f"--wandb: needs the package wandb-workspaces: {needed}") from None
    try:
        with client_environment(content.folder.resolve(), account=True):
            if reason := why_not_online():
                raise RunError(f"--wandb: {reason}")
            return _published(wr, content, settings)
    except ValueError as error:
        raise RunError(f"--wandb: {error}") from None


def _published(wr: Any, content: Content, settings: dict[str, Any]) -> str:
    """Create the report and return its address. Raises RunError if the server does not accept it."""
    try:
        # The report must lie where the runs lie: the entity of the configuration, or that of the API key.
        entity = settings["entity"] or default_entity()
        report = wr.Report(settings["project"], entity or "", content.title, " ".join(content.verdict[:1]))
        report.blocks = _blocks(wr, content, entity or "", settings["project"])
        with contextlib.redirect_stderr(io.StringIO()):  # the client prints the address, which the command prints, too
            report.save()
    except Exception as error:  # the client raises a dozen types
        raise RunError(f"--wandb: W&B did not accept the report: {(str(error).splitlines() or [''])[0]}") from None
    return str(report.url)


def _blocks(wr: Any, content: Content, entity: str, project: str) -> list[Any]:
    """Return the report's blocks; the runs are found by their group, the study's folder."""
    runs = wr.Runset(entity, project, name=content.folder.name, filters=f"Group == '{content.folder.name}'")
    panels = [wr.LinePlot(title=key.replace("_", " "), x="epoch", y=[key]) for key in PANELS]
    # The table of arms is written in Markdown, which W&B renders.
    table = [titles(content), ["---"] * len(titles(content)), *texts(rows(content))]
    return [
        wr.H2("Verdict"),
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
    settings = WandbConfig(**study.entries[0].config["wandb"])
    notes = "\n".join([*content.verdict, *content.footnotes])
    # A run of the same group, so that W&B shows the verdict beside the runs of the study.
    data = dict.fromkeys(str(entry.config["dataset"]["name"]) for entry in study.entries)
    tags = tuple(dict.fromkeys((*settings.tags, *data, "verdict")))
    named = {"name": "verdict", "arm": None, "notes": notes, "job_type": "verdict", "tags": tags}
    noted = settings.model_copy(update=named)
    with wandb_mirror(noted, {}, folder, folder.name.rpartition("-")[2]) as mirror:
        mirror.tabulate("arms", titles(content), texts(rows(content)))
