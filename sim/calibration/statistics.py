"""Statistics of linear layers' inputs: Hessian, largest and mean magnitude of each channel.

Layers that read the same input share one entry: ``qkv``, ``o``, ``gate_up`` and ``down``. Sums
over a window are float32; they are added in float64, in the order of the windows, so that threads
and interruptions do not change the result.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32, Float64


@dataclass(slots=True, kw_only=True, eq=False)
class Statistics:
    """Statistics of one input, over all tokens added."""

    #: Hessian of the squared error: ``sum x x^T`` over tokens.
    hessian: Float64[np.ndarray, "n n"]
    #: Largest magnitude of each channel: ``max |x|``.
    amax: Float32[np.ndarray, " n"]
    #: Sum of magnitudes of each channel: ``sum |x|``.
    magnitude: Float64[np.ndarray, " n"]
    tokens: int

    @classmethod
    def empty(cls, channels: int) -> "Statistics":
        """Return the statistics of zero tokens."""
        return cls(
            hessian=np.zeros((channels, channels)),
            amax=np.zeros(channels, np.float32),
            magnitude=np.zeros(channels),
            tokens=0,
        )

    def add(self, sums: "WindowSums", tokens: int) -> None:
        """Add one window."""
        self.hessian += np.asarray(sums.hessian)
        np.maximum(self.amax, np.asarray(sums.amax), out=self.amax)
        self.magnitude += np.asarray(sums.magnitude)
        self.tokens += tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSums:
    """The sums of :class:`Statistics` over one window, in float32."""

    hessian: Float32[Array, "n n"]
    amax: Float32[Array, " n"]
    magnitude: Float32[Array, " n"]


def window_sums(x: Float32[Array, "t n"]) -> WindowSums:
    """Return the sums of one window's inputs."""
    # Without this, accelerators multiply float32 with reduced precision.
    return WindowSums(
        hessian=jnp.matmul(x.T, x, precision="highest"),
        amax=jnp.max(jnp.abs(x), axis=0),
        magnitude=jnp.sum(jnp.abs(x), axis=0),
    )
