"""Lines of progress of a pass: the block, and the output error of the matrices so far."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Float32

#: Called with a line such as ``block 3/30, output error 1.20 %``, and the number of blocks done.
Report = Callable[[str, int], None]
#: Rows of a matrix on which its error is estimated, evenly spaced.
ROWS = 128


def unreported(line: str, done: int) -> None:
    """Report nothing."""


def output_error(
    matrix: Float32[np.ndarray, "out n"],
    rounded: Float32[np.ndarray, "out n"],
    hessian: Float[np.ndarray, "n n"],
) -> float:
    """Return ``tr(D H D^T) / tr(W H W^T)`` over at most :data:`ROWS` rows; 0 without outputs."""
    rows = np.unique(np.linspace(0, len(matrix) - 1, min(ROWS, len(matrix))).astype(int))
    weight = matrix[rows].astype(np.float64)
    difference = rounded[rows] - weight
    error, power = (float(np.vdot(a @ hessian, a)) for a in (difference, weight))
    return error / power if power > 0 else 0.0


@dataclass(slots=True)
class BlockReports:
    """Reports each block of a pass.

    >>> reports = BlockReports(30, print)
    >>> reports.add(0, {}), reports.add(1, {"mlp.down_proj": 0.02, "mlp.up_proj": 0.01})
    block 1/30 1
    block 2/30, output error 1.50 % 2
    (None, None)
    """

    blocks: int
    report: Report
    _errors: list[float] = field(default_factory=list)

    def add(self, index: int, output_errors: Mapping[str, float]) -> None:
        """Report a block as done, and the mean error of all matrices added."""
        self._errors += output_errors.values()
        line = f"block {index + 1}/{self.blocks}"
        if self._errors:
            line += f", output error {np.mean(self._errors):.2%}".replace("%", " %")
        self.report(line, index + 1)
