"""Speed of codebooks on 1024 x 4096 float32; run with ``-o addopts= --import-mode=importlib``.

The peer is the same search in numpy, one matrix product with all entries, on fewer vectors, in the
same run; for k-means it is Lloyd's algorithm with the same start, one row after the other. AQLM's
pass for a beam of one is timed beside the steps of its public code, as in reports/numerics_speed.
"""

import runpy
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import quantize
from numerics.codebooks import e8p
from numerics.codebooks.additive import Additive
from numerics.codebooks.e8p_scheme import E8P
from numerics.codebooks.kmeans import KMeans

ROWS, COLUMNS, ROUNDS = 1024, 4096, 3
STUDY = Path(__file__).parents[2] / "reports" / "numerics_speed" / "study.py"


def nearest_by_numpy(vectors, table):
    """Codes of the nearest entries."""
    scores = vectors @ table.T - 0.5 * (table * table).sum(1)
    return scores.argmax(1)


def lloyd_by_numpy(row, count):
    """Centers of a row after 50 rounds."""
    centers = np.quantile(row, (np.arange(count) + 0.5) / count)
    for _ in range(50):
        owners = np.searchsorted((centers[1:] + centers[:-1]) / 2, row)
        sums = np.bincount(owners, row, count)
        centers = sums / np.maximum(np.bincount(owners, minlength=count), 1)
    return centers


X = np.random.default_rng(0).standard_normal((ROWS, COLUMNS), np.float32)
VECTORS = X.reshape(-1, 8)
E8P_TABLE = np.float32(e8p.points()) / 4
TABLE = VECTORS[:256]


def two_codebooks_trained(vectors):
    """Do the searches of two codebooks: 20 rounds on 16384 vectors, then one on all vectors."""
    trained = np.resize(vectors, (16384 * len(vectors) // len(VECTORS), 8))
    for _ in range(2):
        for _ in range(20):
            nearest_by_numpy(trained, TABLE)
        nearest_by_numpy(vectors, TABLE)


CASES = {
    "e8p": (E8P(), lambda: nearest_by_numpy(VECTORS[:512], E8P_TABLE), 512 * 8, 50),
    "kmeans4": (
        KMeans(code_bits=4),
        lambda: [lloyd_by_numpy(row, 16) for row in X[:8]],
        8 * COLUMNS,
        2,
    ),
    "aqlm-2x8": (
        Additive(codebooks=2, code_bits=8),
        lambda: two_codebooks_trained(VECTORS[: len(VECTORS) // 16]),
        X.size // 16,
        1,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_codebooks_are_faster_than_numpy(name, benchmark):
    scheme, by_numpy, peer_size, least = CASES[name]
    times = []
    for _ in range(3):
        started = time.perf_counter()
        by_numpy()
        times.append(time.perf_counter() - started)
    x = jnp.asarray(X)
    run = lambda: jax.block_until_ready(quantize(x, scheme))  # noqa: E731
    run()
    benchmark.pedantic(run, rounds=ROUNDS)
    rate = x.size / benchmark.stats.stats.min / 1e6
    peer = peer_size / min(times) / 1e6
    benchmark.extra_info |= {"m_elements_per_s": rate, "peer": peer, "ratio": rate / peer}
    assert rate > least * peer


def test_a_beam_of_one_is_ten_times_as_fast_as_the_public_code(benchmark):
    pytest.importorskip("torch")
    numbers = np.random.default_rng(0).standard_normal((3584, 1024), np.float32)
    row, _ = runpy.run_path(str(STUDY))["beam_pass"](numbers)
    (steps,) = row.peers.values()
    assert (row.run() == steps()).mean() > 0.999
    times = []

    def one_after_the_other():
        started = time.perf_counter()
        steps()
        times.append(time.perf_counter() - started)

    benchmark.pedantic(row.run, setup=one_after_the_other, rounds=2 * ROUNDS)
    ratio = min(times) / benchmark.stats.stats.min
    benchmark.extra_info |= {"peer": row.size / min(times) / 1e6, "ratio": ratio}
    assert ratio > 10
