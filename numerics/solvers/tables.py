"""Tables of the values that codes stand for under given side data, read from ``dequantize``."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32

from numerics.schemes.scheme import Scheme
from numerics.schemes.tensor import QuantizedTensor
from numerics.solvers.contract import Matrix, Side
from numerics.ternary.schemes import BitNetTernary, Twn

#: Value of each code for each row, per group of columns or per column.
Tables = Float32[Array, "groups codes out"]
#: Names of the arrays that hold the index of the chosen candidate format.
SELECTORS = ("selectors", "selector")
#: Number of codes of a ternary weight.
TRITS = 3
#: Codes that one step of a search through a table compares.
AT_ONCE = 16


def column_groups(scheme: Scheme, width: int) -> np.ndarray:
    """Return the group of each column; without groups a row is one."""
    return np.arange(width) // (scheme.group_size or width)


def code_count(scheme: Scheme, shape: tuple[int, ...]) -> int | None:
    """Return the number of codes of a value, ``None`` unless each value has one in a byte."""
    fields = {field.name: field for field in scheme.layout(shape)}
    codes = fields.get("codes")
    if codes is None or codes.shape != shape or codes.dtype != np.uint8:
        return None
    return 1 << codes.bits


def values_of(codes: Array, side: Side, scheme: Scheme) -> Matrix:
    """Return the values of a matrix of codes."""
    arrays = {"codes": codes, **side}
    values: Array = scheme.dequantize(
        QuantizedTensor(arrays=arrays, scheme=scheme, shape=codes.shape)
    )
    return values


def tables_by_group(side: Side, scheme: Scheme, shape: tuple[int, ...]) -> Tables:
    """Return the tables of groups, for schemes in which a group's columns have equal values.

    One matrix holds different codes in the columns of a group, so that few calls of ``dequantize``
    give the values of all codes.
    """
    rows, width = shape
    count = code_count(scheme, shape)
    assert count is not None
    starts = np.flatnonzero(np.diff(column_groups(scheme, width), prepend=-1))
    shortest = int(np.diff(starts, append=width).min())
    place = np.arange(width) - starts[column_groups(scheme, width)]
    parts = []
    for first in range(0, count, shortest):
        codes = np.minimum(first + place, count - 1).astype(np.uint8)
        found = values_of(jnp.broadcast_to(codes, (rows, width)), side, scheme)
        parts.append(found.T[starts[:, None] + np.arange(shortest)])
    return jnp.concatenate(parts, axis=1)[:, :count]


def usable(tables: Tables, side: Side, scheme: Scheme) -> Tables:
    """Return tables with NaN for codes that no quantizer of the scheme writes.

    These are codes outside the range of their format, such as -8 in integers of a narrow range, and
    the fourth code of ternary weights.
    """
    if isinstance(scheme, Twn | BitNetTernary):
        return jnp.where(jnp.arange(tables.shape[1])[:, None] < TRITS, tables, jnp.nan)
    if not scheme.formats:
        return tables
    numbers = np.array([[fmt.decode(c) for c in range(tables.shape[1])] for fmt in scheme.formats])
    ranges = np.array([(fmt.min, fmt.max) for fmt in scheme.formats])
    is_inside = (numbers >= ranges[:, :1]) & (numbers <= ranges[:, 1:])
    if is_inside.all():
        return tables
    selectors = next((side[name] for name in SELECTORS if name in side), jnp.zeros(1, jnp.uint8))
    by_group = jnp.asarray(is_inside)[selectors.astype(jnp.int32)]
    # Shapes (1, codes) and (out, groups, codes) become those of tables.
    shaped = by_group[..., None] if by_group.ndim == 2 else by_group.transpose(1, 2, 0)
    return jnp.where(shaped, tables, jnp.nan)


def tables_by_column(side: Side, scheme: Scheme, shape: tuple[int, ...]) -> Tables:
    """Return the tables of columns, by one call of ``dequantize`` for each code."""
    count = code_count(scheme, shape)
    assert count is not None
    each = jnp.arange(count, dtype=jnp.uint8)
    found = jax.lax.map(lambda code: values_of(jnp.full(shape, code), side, scheme).T, each)
    return jnp.moveaxis(found, 0, 1)


def nearest(
    target: Float32[Array, " out"], table: Float32[Array, "codes _"]
) -> tuple[Array, Float32[Array, " out"]]:
    """Return the code of the value nearest to each number, ties to the lower code; its value."""
    distances = jnp.abs(table - target)
    codes = jnp.argmin(jnp.where(jnp.isnan(distances), jnp.inf, distances), axis=0)
    shape = (1, *target.shape)
    table = jnp.broadcast_to(table, (len(table), *target.shape))
    return codes.astype(jnp.uint8), jnp.take_along_axis(table, codes.reshape(shape), axis=0)[0]


def group_errors(
    weight: Matrix, importance: Float32[Array, " n"], tables: Tables, size: int
) -> Float32[Array, "groups out"]:
    """Return each group's squared error of rounding to nearest, weighted by column."""
    rows, width = weight.shape
    padding = -width % size
    columns = jnp.pad(weight, ((0, 0), (0, padding))).T.reshape(-1, size, rows)
    weights = jnp.pad(importance, (0, padding)).reshape(-1, size, 1)
    count = -(-tables.shape[1] // AT_ONCE) * AT_ONCE
    filled = jnp.pad(tables, ((0, 0), (0, count - tables.shape[1]), (0, 0)), mode="edge")
    chunks = jnp.moveaxis(filled.reshape(len(tables), -1, AT_ONCE, rows), 1, 0)

    def step(best: Array, chunk: Array) -> tuple[Array, None]:
        for code in range(min(AT_ONCE, tables.shape[1])):
            best = jnp.fmin(best, jnp.abs(columns - chunk[:, code, None]))
        return best, None

    best, _ = jax.lax.scan(step, jnp.full(columns.shape, jnp.inf), chunks)
    return jnp.sum(weights * best * best, axis=1)
