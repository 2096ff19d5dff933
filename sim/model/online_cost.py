"""What the online transforms of a model cost: additions and multiplications, and no stored bits."""

from dataclasses import dataclass

from numerics.solvers.hadamard import additions
from sim.model.config import ModelConfig
from sim.model.online import Online


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineCost:
    """Operations of all layers' online transforms for one token."""

    #: Additions and subtractions.
    additions: int
    #: Products with ``1 / sqrt(n)``; hardware may fold them into the scale of the next rounding.
    multiplications: int


def online_cost(config: ModelConfig) -> OnlineCost:
    """Return what the online transforms of a model cost a token."""
    online, size = config.online or Online(), config.head_dim
    # Values of one layer that each transform takes, and the size of its blocks.
    transforms = (
        (config.intermediate_size, online.down),
        (config.heads * size, online.o),
        (config.heads * size, online.o_values),
        ((config.heads + config.kv_heads) * size, online.qk),
    )
    used = [(values, block) for values, block in transforms if block is not None]
    return OnlineCost(
        additions=config.layers * sum(values // block * additions(block) for values, block in used),
        multiplications=config.layers * sum(values for values, _ in used),
    )
