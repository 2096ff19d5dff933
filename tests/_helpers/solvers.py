"""GPTQ in float64 as the paper has it, and layers for the tests of the solvers."""

import numpy as np


def layer(rows=24, width=64, tokens=400, seed=0):
    """Return weights, and the Hessian of inputs with correlated channels."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(tokens, width)) @ rng.normal(size=(width, width))
    return rng.normal(size=(rows, width)).astype(np.float32), x.T @ x


def damped(hessian, damping=0.01):
    """Return the Hessian that a solver factorises."""
    return hessian + damping * np.diag(hessian).mean() * np.eye(len(hessian))


def reference(weight, hessian, round_unit, order, unit=1):
    """Return values and ``sum e^2`` of the loop without blocks, by units of columns.

    ``round_unit(w, columns, u)`` returns the values of updated columns ``w``, ``u`` their block of
    the upper Cholesky factor of the inverse.
    """
    h = damped(hessian)
    u = np.linalg.cholesky(np.linalg.inv(h[np.ix_(order, order)])).T
    w, found, loss = np.array(weight[:, order], np.float64), np.zeros(weight.shape), 0.0
    for j in range(0, len(order), unit):
        g, columns = slice(j, j + unit), order[j : j + unit]
        found[:, columns] = round_unit(w[:, g], columns, u[g, g])
        e = (w[:, g] - found[:, columns]) @ np.linalg.inv(u[g, g])
        w[:, j:] -= e @ u[g, j:]
        loss += (e * e).sum()
    return found, loss
