"""The source from which Hydra reads the options of own functions that have no YAML file. Imports no torch."""

from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf

from trainer.config.option_files import SignatureFile, own_conf, signature_files

SCHEME = "techniques"  # of the entry in Hydra's search path


class SignatureSource(ConfigSource):
    """The YAML of own functions for Hydra, which asks for it under the path of a file, as in "optimizer/tiger"."""

    @staticmethod
    def scheme() -> str:
        """Return the scheme of the entry in the search path."""
        return SCHEME

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the configuration at a path that `is_config` knows."""
        text = self._find(config_path)
        assert text is not None, config_path
        tree = OmegaConf.create(text.read_text())
        return ConfigResult(self.provider, f"{SCHEME}://{config_path}", tree, header={"package": None})

    def available(self) -> bool:
        """Return True: nothing has to be there."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Return whether own functions belong to this group."""
        return bool(signature_files(config_path.strip("/"), own_conf()))

    def is_config(self, config_path: str) -> bool:
        """Return whether there is an own function of this name."""
        return self._find(config_path) is not None

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return the names of the own functions of a group."""
        if results_filter is ObjectType.GROUP:
            return []
        return sorted(signature_files(config_path.strip("/"), own_conf()))

    @staticmethod
    def _find(config_path: str) -> SignatureFile | None:
        group, _, name = config_path.strip("/").partition("/")
        return signature_files(group, own_conf()).get(name.removesuffix(".yaml"))


def register_source() -> None:
    """Let Hydra know the source of own functions; once in a process is enough."""
    Plugins.instance().register(SignatureSource)
