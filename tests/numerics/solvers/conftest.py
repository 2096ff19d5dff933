"""The small layers shared by the solver tests."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def vector_b() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights (3, 8), inputs (12, 8) and Hessian of a vector from the public GPTQ code."""
    weight = (
        np.array(
            [
                [-8, -3, 2, 7, -5, 0, 5, -7],
                [-1, 7, -2, 6, -3, 5, -4, 4],
                [6, 0, -6, 5, -1, -7, 4, -2],
            ],
            np.float32,
        )
        / 8
    )
    rows, columns = np.mgrid[:12, :8]
    x = (((3 * rows + 7 * columns + 3 * rows * columns) % 13) - 6) / 4
    x[:, 5] = 0.5 * x[:, 4] + 0.25 * x[:, 5]
    return weight, x, 2 * x.T @ x
