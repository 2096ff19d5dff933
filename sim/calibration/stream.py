"""Hidden states of all calibration windows, passed from block to block."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32, Int32

from numerics import fake_quantize
from sim.calibration.statistics import Statistics, WindowSums, window_sums
from sim.model.config import ModelConfig
from sim.model.forward import Sites, block, embed
from sim.model.layer_numerics import LayerNumerics
from sim.model.params import Params
from sim.model.rope import rope_tables
from sim.sources.source import ModelSource

FLOAT = LayerNumerics()

jax.tree_util.register_dataclass(
    WindowSums, data_fields=["hessian", "amax", "magnitude"], meta_fields=[]
)


@dataclass(slots=True)
class Stream:
    """Inputs of the next block, float32, shape (windows, tokens, hidden)."""

    config: ModelConfig
    states: Float32[np.ndarray, "n t d"]
    #: Index of the next block.
    index: int = 0

    @classmethod
    def start(cls, source: ModelSource, tokens: Int32[np.ndarray, "n t"]) -> "Stream":
        """Embed the tokens."""
        config = source.config
        params = {"embed": jnp.asarray(source.read("embed_tokens.weight"))}
        if config.learned_positions:
            params["positions"] = jnp.asarray(source.read("embed_positions.weight"))
        states = np.stack([np.asarray(embed(params, jnp.asarray(w), config)) for w in tokens])
        return cls(config, states)

    def statistics(self, params: Params, numerics: LayerNumerics = FLOAT) -> dict[str, Statistics]:
        """Return what the linear layers of the next block read, as ``numerics`` rounds it."""
        found: dict[str, Statistics] = {}
        for x in self.states:
            sums = _block_sums(
                jnp.asarray(x), params, self.config, numerics, self.config.windows[self.index]
            )
            for site, part in sums.items():
                entry = found.setdefault(site, Statistics.empty(len(part.amax)))
                entry.add(part, len(x))
        return found

    def advance(self, params: Params, numerics: LayerNumerics = FLOAT) -> None:
        """Replace the states by the outputs of the next block."""
        for i, x in enumerate(self.states):
            self.states[i] = _block_output(
                jnp.asarray(x), params, self.config, numerics, self.config.windows[self.index]
            )
        self.index += 1


@partial(jax.jit, static_argnames=("config", "numerics", "window"))
def _block_sums(
    x: Float32[Array, "t d"],
    params: Params,
    config: ModelConfig,
    numerics: LayerNumerics,
    window: int | None,
) -> dict[str, WindowSums]:
    sites = _run(x, params, config, numerics, window)[1]
    return {site: window_sums(_rounded(inputs, numerics, site)) for site, inputs in sites.items()}


@partial(jax.jit, static_argnames=("config", "numerics", "window"))
def _block_output(
    x: Float32[Array, "t d"],
    params: Params,
    config: ModelConfig,
    numerics: LayerNumerics,
    window: int | None,
) -> Float32[Array, "t d"]:
    return _run(x, params, config, numerics, window)[0]


def _run(
    x: Float32[Array, "t d"],
    params: Params,
    config: ModelConfig,
    numerics: LayerNumerics,
    window: int | None,
) -> tuple[Float32[Array, "t d"], Sites]:
    rope = None if config.rope is None else rope_tables(config.rope, len(x))
    fitting = None if window is None or window >= len(x) else window
    return block(x, params, config, numerics, rope, fitting)


def _rounded(x: Float32[Array, "t n"], numerics: LayerNumerics, site: str) -> Array:
    scheme = getattr(numerics, site)
    return x if scheme is None else fake_quantize(x, scheme)
