"""The operands of a linear layer for a tile of PEs, and its outputs from the tile's results."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import jax.numpy as jnp
import numpy as np

from numerics import QuantizedTensor, parse_scheme, quantize
from numerics.pe.exact_product import scaled_sum
from rtl.element import ProcessingElement
from rtl.fields import Operands
from rtl.layer.tile import TilePe

P = TypeVar("P", bound=ProcessingElement)
#: Default lanes of PEs with exact sums, whose results do not depend on the lanes.
USUAL_LANES = 8
#: Default PEs of a tile; fewer for large circuits, which take longer to compile than to run.
USUAL_TILE, SMALL_TILE = 4, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Codes of weights and activations, as matrices of rows."""

    #: Codes of weights, shape (outputs, inputs).
    weights: np.ndarray
    #: Codes of activations, shape (tokens, inputs).
    activations: np.ndarray
    #: Format names of ``weights`` and ``activations``.
    formats: dict[str, str]


def as_float32(sums: np.ndarray) -> np.ndarray:
    """Return integers as float32."""
    return sums.astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer for a tile of PEs; each result of the tile holds ``columns`` outputs."""

    pe: ProcessingElement
    outputs: int
    inputs: int
    #: Number of inputs (along the reduction axis) per result.
    group: int
    columns: int
    #: Function from outputs (pairs, columns), tokens (pairs,) and a group index to operands.
    operands: Callable[[np.ndarray, np.ndarray, int], Operands]
    #: Function from results, shape (groups, tokens, outputs), to float32 values before scaling.
    values: Callable[[np.ndarray], np.ndarray] = as_float32
    #: Scales of weights, shape (outputs, groups) or (outputs, 1).
    scales: np.ndarray
    #: Scales of activations, shape (tokens,).
    token_scales: np.ndarray
    #: Number added to all outputs of a token, shape (tokens,); ``None`` for 0.
    offsets: np.ndarray | None = None
    #: Outputs computed by :mod:`numerics`, without the PE.
    expected: np.ndarray
    #: Function from beats per group to groups that load codebooks; ``None`` without codebooks.
    prologue: Callable[[int], Operands] | None = None
    #: Rows of codes; ``None`` for PEs whose beats have further fields.
    rows: Rows | None = field(default=None)

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return len(self.token_scales)

    def results(self, sums: np.ndarray) -> np.ndarray:
        """Return the outputs: sums of groups, scaled and added in float32."""
        total = scaled_sum(self.values(sums), self.scales, self.token_scales)
        return total if self.offsets is None else total + self.offsets[:, None]

    def split(self, results: np.ndarray) -> np.ndarray:
        """Return results as sums of their columns, shape (pairs, columns)."""
        if isinstance(self.pe, TilePe):
            return results.reshape(len(results), self.columns)
        width = self.pe.result_shape.width // self.columns
        fields = results[:, None] >> width * np.arange(self.columns) & (1 << width) - 1
        return np.asarray((fields ^ 1 << width - 1) - (1 << width - 1))


def checked(pe: P) -> P:
    """Return a PE, or raise ValueError if its circuit does not support its sizes."""
    _ = pe.result_shape
    return pe


def with_lanes(pe: P, lanes: int) -> P:
    """Return a PE with ``lanes``, or raise ValueError if its circuit does not support them."""
    return checked(replace(pe, lanes=lanes))


def tile_of(pe: ProcessingElement, columns: int) -> TilePe:
    """Return ``columns`` PEs side by side."""
    return TilePe(
        name=f"{pe.name}-tile",
        source=pe.source,
        lanes=columns * pe.lanes,
        length=pe.length,
        pe=pe,
        columns=columns,
    )


def quantized(x: np.ndarray, scheme: str) -> QuantizedTensor:
    """Return a matrix in a scheme."""
    return quantize(jnp.asarray(x), parse_scheme(scheme))


def int8_tokens(x: np.ndarray) -> tuple[QuantizedTensor, np.ndarray]:
    """Return activations as INT8 with a float32 scale per token, and the scales."""
    found = quantized(x, "int8:token:fp32")
    return found, np.asarray(found.scales).astype(np.float32).reshape(-1)


def unscaled(q: QuantizedTensor, **arrays: np.ndarray | float) -> np.ndarray:
    """Return a matrix, dequantized with other scales or zero points; by default with scales of 1.

    ``arrays`` are named as in the tensor's layout; a single number fills an array.
    """
    given: Mapping[str, np.ndarray | float] = arrays or {"scales": 1.0}
    changed = {
        name: jnp.broadcast_to(jnp.asarray(each, q.arrays[name].dtype), q.arrays[name].shape)
        for name, each in given.items()
    }
    other = QuantizedTensor(arrays={**q.arrays, **changed}, scheme=q.scheme, shape=q.shape)
    return np.asarray(other.dequantize())


def bits_of(codes: object) -> np.ndarray:
    """Return the bits of an array of small floats as codes; an array of codes as it is."""
    array = np.asarray(codes)
    return array.view(f"u{array.dtype.itemsize}")


def whole_beats(length: int, values: int) -> int:
    """Return ``length`` rounded down to whole beats of ``values``.

    >>> whole_beats(100, 16)
    96
    """
    return length - length % values


def in_beats(codes: np.ndarray, values: int) -> np.ndarray:
    """Return rows of codes, shape (pairs, length), as beats padded with code 0."""
    filled = np.pad(codes, ((0, 0), (0, -codes.shape[1] % values)))
    return filled.reshape(len(codes), -1, values)


def side_by_side(codes: np.ndarray, values: int) -> np.ndarray:
    """Return codes, shape (pairs, columns, length), as beats with ``values`` of every column."""
    pairs, columns, length = codes.shape
    beats = in_beats(codes.reshape(-1, length), values).reshape(pairs, columns, -1, values)
    return beats.swapaxes(1, 2).reshape(pairs, -1, columns * values)


def in_all_beats(of_columns: np.ndarray, beats: int) -> np.ndarray:
    """Return one number per column, shape (pairs, columns), repeated for every beat."""
    pairs, columns = of_columns.shape
    return np.broadcast_to(of_columns[:, None], (pairs, beats, columns))


def by_value(codes: np.ndarray, length: int) -> np.ndarray:
    """Return codes, shape (pairs, columns, length), reordered to (pairs, length * columns)."""
    filled = np.pad(codes, ((0, 0), (0, 0), (0, length - codes.shape[2])))
    swapped: np.ndarray = filled.swapaxes(1, 2)
    return swapped


def of_groups(scales: object, outputs: int) -> np.ndarray:
    """Return scales as float32 of shape (outputs, groups)."""
    return np.asarray(scales).astype(np.float32).reshape(outputs, -1)
