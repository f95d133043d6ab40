"""A study in W&B: a saved view and a report, which need an account; the verdict of a sweep."""

import contextlib
import hashlib
import io
from pathlib import Path
from typing import Any

from trainer.config.run_config import WandbConfig
from trainer.errors import ConfigError, RunError
from trainer.records.wandb_connection import default_entity, why_not_online
from trainer.records.wandb_environment import client_environment
from trainer.records.wandb_mirror import wandb_mirror
from trainer.reports import wandb_panels
from trainer.reports.content import Content, of_study
from trainer.reports.page import rows, texts, titles
from trainer.study.manifest import Manifest


def publish(content: Content) -> dict[str, str]:
    """Create a report and a saved view in the project of the study's runs and return their addresses by kind.

    Raises ConfigError if the package is missing, RunError without an API key or a server that accepts them.
    """
    settings = content.arms[0].runs[0].config["wandb"]
    if settings["mode"] == "disabled":
        raise ConfigError(f"--wandb: {content.folder} was run with wandb.mode=disabled, so W&B has none of its runs")
    try:
        import wandb_workspaces.workspaces  # noqa: F401
    except ImportError:
        needed = "pip install 'ablation-trainer[report]'"
        raise ConfigError(f"--wandb: needs the package wandb-workspaces: {needed}") from None
    try:
        with client_environment(content.folder.resolve(), account=True):
            if reason := why_not_online():
                raise RunError(f"--wandb: {reason}")
            return _published(content, settings)
    except ValueError as error:
        raise RunError(f"--wandb: {error}") from None


def _published(content: Content, settings: dict[str, Any]) -> dict[str, str]:
    """Create report and view. Raises RunError if the server does not accept them."""
    made = {"report": wandb_panels.report, "view": wandb_panels.view}
    addresses = {}
    for kind, make in made.items():
        try:
            # They must lie where the runs lie: the entity of the configuration, or that of the API key.
            entity = settings["entity"] or default_entity()
            group = settings.get("group") or content.folder.name
            page = make(content, entity or "", settings["project"], group)
            with contextlib.redirect_stderr(io.StringIO()):  # the client prints the address, as the command does
                page.save()
            addresses[kind] = str(page.url)
        except Exception as error:  # the client raises a dozen types
            reason = (str(error).splitlines() or [""])[0]
            raise RunError(f"--wandb: W&B did not accept the {kind}: {reason}") from None
    return addresses


def log_verdict(folder: Path) -> None:
    """Send the verdict of the study in `folder` to W&B: the notes of a run named "verdict", and the table of arms."""
    study = Manifest.read(folder)
    settings = WandbConfig(**study.entries[0].config["wandb"])
    if settings.mode == "disabled":
        return
    content = of_study(folder, search=False)
    # A run of the same group, so that W&B shows the verdict beside the runs of the study.
    data = dict.fromkeys(str(entry.config["dataset"]["name"]) for entry in study.entries)
    named = {
        "name": "verdict",
        "arm": None,
        "notes": "\n".join(content.sentences),
        "job_type": "verdict",
        "tags": tuple(dict.fromkeys((*settings.tags, *data, "verdict"))),
    }
    # The same id after the study has grown, or its folder has been renamed.
    name = hashlib.sha256(f"verdict {settings.group or folder.name}".encode()).hexdigest()[:8]
    with wandb_mirror(settings.model_copy(update=named), {}, folder, name) as mirror:
        mirror.tabulate("arms", titles(content), texts(rows(content)))
