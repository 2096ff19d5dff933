"""Statistics of linear layers' inputs: Hessian, largest and mean magnitude of each channel.

Layers that read the same input share one entry: ``qkv``, ``o``, ``gate_up`` and ``down``. Sums
over a window are float32; they are added in float64, in the order of the windows, so that
interruptions do not change the result.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

#: Rows of inputs in a sample, over all windows.
SAMPLE_ROWS = 512
#: Fraction of the sampled rows of a window that are those with the largest inputs.
LARGEST = 0.25


@dataclass(slots=True, kw_only=True, eq=False)
class Statistics:
    """Statistics of one input, over all tokens added."""

    #: Hessian of the squared error: ``sum x x^T`` over tokens.
    hessian: Float64[np.ndarray, "n n"]
    #: Largest magnitude of each channel before the recipe rounds it: ``max |x|``. Rounding makes
    #: zeros of a small channel.
    amax: Float32[np.ndarray, " n"]
    #: Sum of magnitudes of each channel before the recipe rounds it: ``sum |x|``.
    magnitude: Float64[np.ndarray, " n"]
    tokens: int
    #: Inputs of some tokens, before the recipe rounds them; no rows if no step reads them.
    sample: Float32[np.ndarray, "rows n"]
    #: Number of tokens that each row of the sample stands for.
    sample_weights: Float64[np.ndarray, " rows"]
    #: ``sum (x_float - x) x^T`` where ``x_float`` is the float model's input; ``None`` if no step
    #: reads it.
    shift: Float64[np.ndarray, "n n"] | None = None

    @classmethod
    def empty(cls, channels: int, *, with_shift: bool = False) -> "Statistics":
        """Return the statistics of zero tokens."""
        return cls(
            hessian=np.zeros((channels, channels)),
            amax=np.zeros(channels, np.float32),
            magnitude=np.zeros(channels),
            tokens=0,
            sample=np.zeros((0, channels), np.float32),
            sample_weights=np.zeros(0),
            shift=np.zeros((channels, channels)) if with_shift else None,
        )

    def add(
        self,
        x: Float32[np.ndarray, "t n"],
        *,
        unrounded: Float32[np.ndarray, "t n"] | None = None,
        sampled: int = 0,
        reference: Float32[np.ndarray, "t n"] | None = None,
    ) -> None:
        """Add the inputs of one window.

        Parameters
        ----------
        x : array (tokens, channels)
            Inputs as the layers read them.
        unrounded : array (tokens, channels), optional
            Inputs before the recipe rounds them, for magnitudes and the sample; ``x`` if not given.
        sampled : int
            Number of rows to add to the sample; see :func:`sampled_rows`.
        reference : array (tokens, channels), optional
            Inputs of the float model.
        """
        # NumPy multiplies a matrix by its own transpose with half the work of other products.
        self.hessian += x.T @ x
        inputs = x if unrounded is None else unrounded
        magnitudes = np.abs(inputs)
        np.maximum(self.amax, magnitudes.max(axis=0), out=self.amax)
        self.magnitude += magnitudes.sum(axis=0)
        self.tokens += len(x)
        if sampled:
            rows, weights = sampled_rows(inputs, sampled)
            self.sample = np.concatenate([self.sample, inputs[rows]])
            self.sample_weights = np.concatenate([self.sample_weights, weights])
        if reference is not None and self.shift is not None:
            self.shift += (reference - x).T @ x

    def scaled(self, scale: Float[np.ndarray, " n"]) -> "Statistics":
        """Return the statistics of the inputs divided by ``scale``, channel by channel."""
        inverse = 1 / np.asarray(scale, np.float64)
        outer = inverse[:, None] * inverse
        return Statistics(
            hessian=self.hessian * outer,
            amax=(self.amax * inverse).astype(np.float32),
            magnitude=self.magnitude * inverse,
            tokens=self.tokens,
            sample=(self.sample * inverse).astype(np.float32),
            sample_weights=self.sample_weights,
            shift=None if self.shift is None else self.shift * outer,
        )


def sampled_rows(
    x: Float32[np.ndarray, "t n"], count: int
) -> tuple[Int[np.ndarray, " rows"], Float64[np.ndarray, " rows"]]:
    """Return the rows of a sample in order, and the number of tokens that each stands for.

    A few tokens, such as the first one, have inputs many times larger than all others and most of
    the error of a sum over tokens. They are in the sample and stand for themselves; evenly spaced
    rows stand for all others.

    Examples
    --------
    >>> x = np.float32([[9], [1], [1], [1], [1], [1], [1]])
    >>> [part.tolist() for part in sampled_rows(x, 4)]
    [[0, 2, 4, 6], [1.0, 2.0, 2.0, 2.0]]
    """
    if count >= len(x):
        return np.arange(len(x)), np.ones(len(x))
    order = np.argsort(-np.abs(x).max(axis=1), kind="stable")
    largest = max(1, round(LARGEST * count)) if count > 1 else 0
    others, wanted = np.sort(order[largest:]), count - largest
    even = others[(np.arange(wanted) * len(others) + len(others) // 2) // wanted]
    rows = np.concatenate([order[:largest], even])
    weights = np.concatenate([np.ones(largest), np.full(wanted, len(others) / wanted)])
    ascending = np.argsort(rows)
    return rows[ascending], weights[ascending]
