"""Quantization of a few numbers as one row, for schemes without a fixed grid of values."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from numerics import quantize
from numerics.schemes.scheme import Scheme
from sim.errors import UserError

#: Largest number of values of a stored array that are shown.
MOST_SHOWN = 16


def group_text(scheme: Scheme, numbers: Sequence[float]) -> RenderableType:
    """Return a table of the numbers and their dequantized values, and the stored arrays.

    The numbers form one float32 row, padded with zeros if the scheme needs a longer row.

    Raises
    ------
    UserError
        The scheme cannot store the row.
    """
    with np.errstate(over="ignore"):
        row = np.asarray(numbers, np.float32)
    row = np.pad(row, (0, _zeros(scheme, len(row))))
    q = quantize(jnp.asarray(row[None]), scheme)
    values = np.asarray(q.dequantize())[0]
    table = Table(box=None, pad_edge=False)
    for name in ("number", "becomes"):
        table.add_column(name, justify="right")
    for number, value in zip(numbers, values.tolist(), strict=False):
        table.add_row(f"{number:g}", f"{value:.9g}")
    lines = [f"in {scheme.name}, as one row" + _padding(len(row) - len(numbers))]
    lines += [f"{name}: {_shown(np.asarray(array))}" for name, array in q.arrays.items()]
    return Group(table, *(Text(line) for line in lines))


def _zeros(scheme: Scheme, length: int) -> int:
    """Return the number of zeros that pad a row to a length that the scheme can store."""
    for zeros in (0, -length % (scheme.group_size or 1)):
        try:
            scheme.check_shape((1, length + zeros))
        except ValueError as error:
            refusal = str(error)
        else:
            return zeros
    raise UserError(refusal)


def _padding(zeros: int) -> str:
    return f" padded with {zeros} zeros" if zeros else ""


def _shown(array: np.ndarray) -> str:
    flat = array.reshape(-1)
    numbers = flat.astype(np.float32) if flat.dtype.kind not in "iu" else flat
    text = " ".join(f"{number:.9g}" for number in numbers[:MOST_SHOWN].tolist())
    return text + (f" ... ({flat.size} in all)" if flat.size > MOST_SHOWN else "")
