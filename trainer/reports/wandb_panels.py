"""The report and the saved view of a study in W&B: curves by arm, the table of arms, the points of a search.

Built by the package wandb-workspaces, which the extra `[report]` installs.
"""

from typing import Any

from trainer.config.schema import GROUPS
from trainer.reports.content import Content
from trainer.reports.page import rows, texts, titles
from trainer.stats.score_rule import BEST, described
from trainer.study.axes import ARM
from trainer.study.manifest import Manifest

CURVES = ("validation_accuracy", "validation_loss", "train_accuracy", "train_loss", "lr")
RUNS = 100  # in a panel, at most


def report(content: Content, entity: str, project: str, group: str) -> Any:
    """Return a report, not yet saved: verdict, curves, table of arms, points of a search."""
    import wandb_workspaces.reports.v2.interface as wr

    runs = wr.Runset(entity, project, name=group, filters=_filter(group), groupby=["config.arm"])
    shown = wr.Report(project, entity, content.title, " ".join(content.verdict[:1]))
    search = _search(content)
    blocks: list[Any] = [
        wr.H2("Verdict"),
        wr.UnorderedList(list[Any]([*content.verdict, *content.findings])),
        *(wr.P(f"{line}.") for line in content.footnotes),
        wr.H2("Learning curves"),
        wr.PanelGrid(runsets=[runs], panels=_curves(content.metric)),
        wr.H2("Arms"),
        wr.MarkdownBlock(_table(content)),
        *([wr.H2("Search"), wr.PanelGrid(runsets=[runs], panels=search)] if search else []),
    ]
    shown.blocks = blocks
    return shown


def view(content: Content, entity: str, project: str, group: str) -> Any:
    """Return a saved view of the workspace, not yet saved: its runs are those of the study, grouped by arm."""
    import wandb_workspaces.reports.v2.interface as wr
    import wandb_workspaces.workspaces as ws

    verdict = "\n".join(f"* {line}" for line in content.sentences)
    panels = {
        "Learning curves": _curves(content.metric),
        "Search": _search(content),
        "Arms": [wr.MarkdownPanel(_table(content)), wr.MarkdownPanel(verdict)],
    }
    return ws.Workspace(
        entity=entity,
        project=project,
        name=group,
        sections=[ws.Section(name=name, panels=each, is_open=True) for name, each in panels.items() if each],
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=RUNS),
        runset_settings=ws.RunsetSettings(
            filters=_filter(group),
            groupby=[ws.Config("arm")],
            pinned_columns=["config:arm.value", "config:seed.value", f"summary:best_{content.metric}"],
        ),
    )


def _filter(group: str) -> str:
    """Return the runs of the study without its verdict, which has no curves."""
    return f"Group == {group!r} and JobType == 'train'"


def _curves(metric: str) -> list[Any]:
    """Return a panel for each curve, that of the metric first: the mean of an arm, with its lowest and highest run."""
    import wandb_workspaces.reports.v2.interface as wr

    return [
        wr.LinePlot(
            title=key.replace("_", " "),
            x="epoch",
            y=[key],
            groupby=wr.Config("arm"),
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            max_runs_to_show=RUNS,
        )
        for key in dict.fromkeys((metric, *CURVES))
    ]


def _search(content: Content) -> list[Any]:
    """Return the parallel coordinates of a search or of a grid over several settings, the best value on top."""
    import wandb_workspaces.reports.v2.interface as wr

    if content.search is None:
        return []
    columns = [
        wr.ParallelCoordinatesPlotColumn(wr.Config(_column(key)), display_name=key, log=_is_log(values) or None)
        for key, _, values in (text.partition("=") for text in Manifest.read(content.folder).axes)
    ]
    best = wr.ParallelCoordinatesPlotColumn(
        wr.SummaryMetric(f"best_{content.metric}"), described(content.metric, BEST), inverted=content.sign < 0 or None
    )
    return [wr.ParallelCoordinatesPlot(title="points of the search", columns=[*columns, best])]


def _column(key: str) -> str:
    """Return the column of a setting in the config of a run: "optimizer.name" of the group `optimizer`."""
    if key in GROUPS:
        return ARM if GROUPS[key].listed else f"{key}.name"  # a list of techniques is no column of its own
    return key


def _is_log(values: str) -> bool:
    """Return whether the values of an axis, as they are typed, are spread on a logarithmic scale."""
    if values.startswith("tag(log"):
        return True
    try:
        numbers = [float(text) for text in values.split(",")]
    except ValueError:  # words, or an interval
        return False
    return min(numbers) > 0 and max(numbers) / min(numbers) >= 100


def _table(content: Content) -> str:
    """Return the table of arms in Markdown, which W&B renders."""
    table = [titles(content), ["---"] * len(titles(content)), *texts(rows(content))]
    return "\n".join(f"| {' | '.join(row)} |" for row in table)
