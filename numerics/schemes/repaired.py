"""A quantized matrix with a low-rank correction."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from numerics.schemes.tensor import QuantizedTensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Repaired:
    """The matrix ``weight + left.T @ right``, all three quantized."""

    weight: QuantizedTensor
    #: Shape (rank, out), so that each of the ``rank`` vectors has scales of its own.
    left: QuantizedTensor
    #: Shape (rank, in).
    right: QuantizedTensor

    def dequantize(self) -> Float32[np.ndarray, "out n"]:
        """Return the sum, computed in float64 and rounded once to float32."""
        low_rank = _float64(self.left).T @ _float64(self.right)
        total: Float32[np.ndarray, "out n"] = (_float64(self.weight) + low_rank).astype(np.float32)
        return total


def _float64(tensor: QuantizedTensor) -> Float64[np.ndarray, "out n"]:
    return np.asarray(tensor.dequantize(), np.float64)
