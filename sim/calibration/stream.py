"""Hidden states of all windows of a text, passed from block to block."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32, Int32

from numerics import fake_quantize
from sim.calibration.spool import Spool
from sim.calibration.statistics import SAMPLE_ROWS, Statistics
from sim.model.config import ModelConfig
from sim.model.forward import Sites, block, embed
from sim.model.layer_numerics import LayerNumerics
from sim.model.params import Params
from sim.model.rope import rope_tables

FLOAT = LayerNumerics()
#: Called after each window of a block with the number of its tokens.
Progress = Callable[[int], None]


def silent(tokens: int) -> None:
    """Report no progress."""


@dataclass(slots=True)
class Stream:
    """Inputs of the next block, float32, shape (windows, tokens, hidden)."""

    config: ModelConfig
    states: Float32[np.ndarray, "n t d"]
    #: Index of the next block.
    index: int = 0

    @classmethod
    def start(
        cls,
        config: ModelConfig,
        tables: Params,
        tokens: Int32[np.ndarray, "n t"],
        spool: Spool | None = None,
    ) -> "Stream":
        """Embed the tokens with the tables ``embed`` and, where learned, ``positions``."""
        states = (spool or Spool()).empty((*tokens.shape, config.hidden_size))
        for i, window in enumerate(tokens):
            states[i] = embed(tables, jnp.asarray(window), config)
        return cls(config, states)

    def copy(self, spool: Spool | None = None) -> "Stream":
        """Return a stream with the same states, which advances on its own."""
        states = (spool or Spool()).empty(self.states.shape)
        states[...] = self.states
        return Stream(self.config, states, self.index)

    def restore(self, states: Float32[np.ndarray, "n t d"], index: int) -> None:
        """Continue with the states before block ``index``."""
        if states.shape != self.states.shape:
            raise ValueError(f"states of shape {states.shape} for {self.states.shape}")
        self.states[...] = states
        self.index = index

    def statistics(
        self,
        params: Params,
        numerics: LayerNumerics = FLOAT,
        *,
        reference: "Stream | None" = None,
        advances_reference: bool = False,
        with_sample: bool = False,
    ) -> dict[str, Statistics]:
        """Return what the linear layers of the next block read, as ``numerics`` rounds it.

        Parameters
        ----------
        reference : Stream, optional
            The stream of the float model, for :attr:`Statistics.shift`.
        advances_reference : bool
            Replace the states of ``reference`` by the outputs of the block.
        with_sample : bool
            Keep a sample of the inputs.
        """
        found: dict[str, Statistics] = {}
        sampled = -(-SAMPLE_ROWS // len(self.states)) if with_sample else 0
        for i, x in enumerate(self.states):
            sites, unrounded = self._sites(x, params, numerics)
            other = None
            if reference is not None:
                after, other = reference._outputs_and_sites(i, params)
                if advances_reference:
                    reference.states[i] = after
            for site, inputs in sites.items():
                if site not in found:
                    channels = inputs.shape[1]
                    found[site] = Statistics.empty(channels, with_shift=other is not None)
                found[site].add(
                    inputs,
                    unrounded=unrounded[site],
                    sampled=sampled,
                    reference=None if other is None else other[site],
                )
        if reference is not None and advances_reference:
            reference.index += 1
        return found

    def advance(
        self, params: Params, numerics: LayerNumerics = FLOAT, *, progress: Progress = silent
    ) -> None:
        """Replace the states by the outputs of the next block."""
        for i, x in enumerate(self.states):
            self.states[i] = _block_output(
                jnp.asarray(x), params, self.config, numerics, self._window
            )
            progress(len(x))
        self.index += 1

    @property
    def _window(self) -> int | None:
        """Tokens that a query of the next block sees; ``None`` sees all."""
        window = self.config.windows[self.index]
        return None if window is None or window >= self.states.shape[1] else window

    def _sites(
        self, x: Float32[np.ndarray, "t d"], params: Params, numerics: LayerNumerics = FLOAT
    ) -> tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]:
        """Return what the block's linear layers read, rounded and unrounded."""
        found = _block_sites(jnp.asarray(x), params, self.config, numerics, self._window)
        rounded, unrounded = ({site: np.asarray(a) for site, a in part.items()} for part in found)
        return rounded, unrounded

    def _outputs_and_sites(
        self, window: int, params: Params
    ) -> tuple[Float32[np.ndarray, "t d"], Mapping[str, np.ndarray]]:
        """Return the outputs of the float block on a window, and what its linear layers read."""
        x = jnp.asarray(self.states[window])
        after, sites = _float_block(x, params, self.config, self._window)
        return np.asarray(after), {site: np.asarray(inputs) for site, inputs in sites.items()}


@partial(jax.jit, static_argnames=("config", "window"))
def _float_block(
    x: Float32[Array, "t d"], params: Params, config: ModelConfig, window: int | None
) -> tuple[Float32[Array, "t d"], Sites]:
    return _run(x, params, config, FLOAT, window)


@partial(jax.jit, static_argnames=("config", "numerics", "window"))
def _block_sites(
    x: Float32[Array, "t d"],
    params: Params,
    config: ModelConfig,
    numerics: LayerNumerics,
    window: int | None,
) -> tuple[Sites, Sites]:
    sites = _run(x, params, config, numerics, window)[1]
    return {site: _rounded(inputs, numerics, site) for site, inputs in sites.items()}, sites


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
    return block(x, params, config, numerics, rope, window)


def _rounded(x: Float32[Array, "t n"], numerics: LayerNumerics, site: str) -> Array:
    scheme = getattr(numerics, site)
    return x if scheme is None else fake_quantize(x, scheme)
