"""The configuration of a run that is resumed: the recorded one, with the settings that may change. Imports no torch."""

from collections.abc import Collection, Mapping
from importlib import import_module
from typing import Any

from trainer.config.own_record import match
from trainer.config.run_config import Tag, tagged
from trainer.errors import ConfigError
from trainer.runtime.files import expanded
from trainer.storage.places import STUDY, named_run
from trainer.storage.untrusted import read_config


def resumed(tree: Mapping[str, Any], overrides: Collection[str]) -> dict[str, Any]:
    """Return the tree of the run that `resume` names, with the settings typed now. Raises ConfigError.

    `tree` is the composed one, `overrides` are the keys that the command line sets.
    """
    name = str(tree["resume"])
    if name and (expanded(name) / STUDY).is_file():
        raise ConfigError(f"resume={name}: is a study, which continues by its own command (in {STUDY})")
    folder = named_run(name, "resume=")
    path = folder / "config.yaml"
    saved, resumable = read_config(path), tagged(Tag.RESUMABLE)
    match(folder, saved)
    continued = {**saved, "resume": str(folder), "output_dir": None}
    for key in overrides:
        root, _, option = key.partition(".")
        if root in resumable and root in tree:
            # `wandb` alone has options; an unknown one is left to the check.
            typed, before, top = tree[root], continued.get(root), option.partition(".")[0]
            if option and isinstance(typed, dict) and isinstance(before, dict):
                continued[root] = {**before, top: typed.get(top)}
            else:
                continued[root] = typed
        elif root != "resume":
            raise ConfigError(f"{key}: a resumed run keeps its settings. Accepted with resume=: {', '.join(resumable)}")
    dataset = continued.get("dataset")
    if "data_dir" not in overrides and isinstance(dataset, dict) and isinstance(dataset.get("name"), str):
        # Loaded by name, as the data sets are: their package lies above this one.
        import_module("trainer.data.download").refuse_download(
            dataset["name"], str(continued.get("data_dir")), path, "data_dir=DIR"
        )
    return continued
