"""Search of the format of a matrix and of the scale of each row by the layer's output error.

The calibrated search of LLM-FP4 (arXiv:2310.16836) for weights: of each candidate format, every row
takes the scale with the least ``tr(D H D^T)`` of its own; the matrix takes the format whose rows
have the least sum. The paper alternates between scales and formats; here all pairs are tried, which
no alternation can improve on.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Float32

from numerics.arithmetic.cast import round_element
from numerics.arithmetic.division import divide, multiply
from numerics.arithmetic.float32 import MIN_NORMAL
from numerics.formats import Format
from numerics.mixtures.searched import Searched
from numerics.mixtures.searched_arrays import row_codes
from numerics.schemes.scheme import Scheme
from numerics.schemes.tensor import QuantizedTensor
from numerics.solvers.contract import Matrix
from numerics.solvers.loop import product

PerRow = Float32[Array, " out"]


def check_search(scheme: Scheme) -> Searched:
    """Return the scheme if it chooses among formats, else raise :class:`ValueError`."""
    if not isinstance(scheme, Searched):
        raise ValueError(
            f"{scheme.name} has no choice of a format for each matrix; take llm-fp4, llm-fp6, "
            "llm-fp8, ant3, ant4 or ant5, or gptq, which suits every format"
        )
    return scheme


def search_format(
    weight: Float32[np.ndarray, "out n"],
    hessian: Float[np.ndarray, "n n"],
    scheme: Scheme,
    *,
    stride: int = 1,
) -> QuantizedTensor:
    """Return the nearest codes in the format and under the scales of least output error.

    Parameters
    ----------
    weight : array (out, in)
        Float weights.
    hessian : array (in, in)
        ``sum x x^T`` of the layer's inputs; a constant factor doesn't matter.
    scheme : Scheme
        A scheme of candidate formats with a scale for each row.
    stride : int
        Every ``stride``-th scale of the scheme's own search is tried.

    Raises
    ------
    ValueError
        The scheme has no candidate formats, or weights that are not finite.
    """
    searched = check_search(scheme)
    if not np.isfinite(weight).all():
        raise ValueError("weights are not finite, so that no scale suits them")
    mean = float(np.diag(hessian).mean()) or 1.0
    rows, metric = jnp.asarray(weight), jnp.asarray(hessian / mean, jnp.float32)
    factors = jnp.asarray(searched.trials[::stride], jnp.float32)
    found = [_search(rows, metric, factors, fmt) for fmt in searched.candidates]
    selector = int(np.argmin([np.asarray(e).sum(dtype=np.float64) for _, e in found]))
    scales = found[selector][0]
    arrays = {
        "codes": row_codes(searched.candidates[selector], rows, scales),
        "scales": scales,
        "selector": jnp.full(1, selector, jnp.uint8),
    }
    return QuantizedTensor(arrays=arrays, scheme=searched, shape=weight.shape)


@partial(jax.jit, static_argnames="fmt")
def _search(
    rows: Matrix, metric: Float32[Array, "n n"], factors: Float32[Array, " k"], fmt: Format
) -> tuple[PerRow, PerRow]:
    """Return the best scale of each row in a format, the first of equals, and its error."""
    largest = jnp.max(jnp.abs(rows), axis=1)

    def step(best: tuple[PerRow, PerRow], factor: Array) -> tuple[tuple[PerRow, PerRow], None]:
        scales = jnp.maximum(divide(multiply(largest, factor), fmt.max), np.float32(MIN_NORMAL))
        rounded = round_element(fmt, divide(rows, scales[:, None]))
        difference = multiply(rounded, scales[:, None]) - rows
        errors = jnp.sum(product(difference, metric) * difference, axis=1)
        is_less = errors < best[1]
        return (jnp.where(is_less, scales, best[0]), jnp.where(is_less, errors, best[1])), None

    start = jnp.ones_like(largest), jnp.where(largest > 0, jnp.inf, 0)
    (scales, errors), _ = lax.scan(step, start, factors)
    return scales, errors
