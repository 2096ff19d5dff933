"""Repairs: corrections that are added to quantized matrices."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from numerics import QuantizedTensor, Scheme, parse_scheme, quantize
from numerics.schemes.repaired import Repaired
from numerics.solvers.low_rank import low_rank_repair
from sim.calibration.statistics import Statistics
from sim.methods.step import Repair, Weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Lorc(Repair):
    """Add the best low-rank approximation of the error, in an 8-bit format."""

    name: ClassVar[str] = "lorc"
    summary: ClassVar[str] = "add a low-rank approximation of the error, a product at run time"
    source: ClassVar[str] = (
        "LoRC of ZeroQuant-V2, arXiv:2303.08302; the Hessian's weight is qsim's own"
    )
    cost: ClassVar[str] = (
        "a singular value decomposition a matrix; two forward passes over the calibration tokens "
        "if weighted"
    )
    run_time: ClassVar[str] = (
        "rank * (in + out) more weights a matrix, and as many multiply-adds a token in two products"
    )
    options: ClassVar[dict[str, str]] = {
        "rank": "rank of the correction",
        "format": "format of the two factors, one scale a vector unless it says otherwise",
        "weighted": "least error of the layer's outputs on the calibration text, not of weights",
    }
    is_calibrated: ClassVar[bool] = True

    rank: int = 8
    format: str = "int8"
    weighted: bool = True

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank of lorc is {self.rank}; it must be 1 or more")
        self._scheme()

    @property
    def reads_text(self) -> bool:
        """Whether the Hessian is needed."""
        return self.weighted

    @property
    def formats(self) -> tuple[int, Scheme, Scheme]:
        """Rank, and the schemes of the factors (rank, out) and (rank, in)."""
        return self.rank, self._scheme(), self._scheme()

    def extra_bits(self, shape: tuple[int, ...]) -> int:
        """Return the bits of both factors; ValueError for a rank that the matrix can't have."""
        if self.rank > min(shape):
            rows, columns = shape
            raise ValueError(
                f"lorc(rank={self.rank}) on a matrix of {rows} x {columns}: the rank can be "
                f"1 to {min(shape)}"
            )
        factors = ((self.rank, size) for size in shape)
        return sum(_bits(self._scheme(), factor) for factor in factors)

    def repair(
        self, weight: Weight, quantized: QuantizedTensor, statistics: Statistics | None
    ) -> Repaired:
        """Return the quantized matrix with the factors of its error."""
        error = np.asarray(weight, np.float64) - np.asarray(quantized.dequantize(), np.float64)
        hessian = statistics.hessian if self.weighted and statistics is not None else None
        left, right = low_rank_repair(error, self.rank, hessian)
        scheme = self._scheme()
        return Repaired(
            weight=quantized,
            left=quantize(jnp.asarray(left.T, jnp.float32), scheme),
            right=quantize(jnp.asarray(right, jnp.float32), scheme),
        )

    def _scheme(self) -> Scheme:
        text = self.format if ":" in self.format else f"{self.format}:channel"
        return parse_scheme(text)


def _bits(scheme: Scheme, shape: tuple[int, int]) -> int:
    return sum(field.total_bits for field in scheme.layout(shape))
