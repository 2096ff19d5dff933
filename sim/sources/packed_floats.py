"""Float types of the tensors that are not quantized."""

import ml_dtypes
import numpy as np

#: Candidates, the preferred first.
FLOAT_TYPES = (ml_dtypes.bfloat16, np.float16, np.float32)


def smallest_type(values: np.ndarray) -> np.ndarray:
    """Return values in the smallest float type that holds every one of them exactly."""
    for dtype in FLOAT_TYPES:
        with np.errstate(over="ignore"):
            narrow = values.astype(dtype)
        if np.array_equal(narrow.astype(np.float32), values):
            return narrow
    return values
