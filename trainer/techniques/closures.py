"""Settings that do not go with an optimizer that computes the gradients of its step itself. Imports no torch."""

from trainer.config.run_config import RunConfig
from trainer.errors import ConfigError


def refuse_closure(config: RunConfig) -> None:
    """Raise ConfigError for settings that do not go with an optimizer that asks for its gradients itself."""
    for setting, value, accepted in (
        ("precision", config.precision, ("fp32", "bf16")),  # in fp16 the scale of the gradients changes between steps
        ("cuda_graph", config.cuda_graph, (False,)),  # the number of passes may change
        ("on_nonfinite", config.on_nonfinite, ("stop",)),  # half a step cannot be skipped
    ):
        if value not in accepted:
            given, others = (str(each).lower() for each in (value, " or ".join(map(str, accepted))))
            raise ConfigError(
                f"{setting}={given} does not go with optimizer={config.optimizer.name}, which computes the gradients"
                f" of a step itself (step(closure)). Accepted: {setting}={others}"
            )
