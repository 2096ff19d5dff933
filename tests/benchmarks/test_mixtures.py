"""Speed of BitMoD on 4096 x 4096 float32; run with ``-o addopts= --import-mode=importlib``.

The peer is the same definition in numpy, on fewer rows, in the same run.
"""

import time

import jax.numpy as jnp
import numpy as np

from numerics import fake_quantize, parse_scheme

SIDE, PEER_ROWS, ROUNDS = 4096, 128, 5
TABLE = np.float32([0, 0.5, 1, 1.5, 2, 3, 4, 6])


def by_numpy(x):
    """Values of the best candidate of each group of 128."""
    groups = x.reshape(-1, 128)
    amax = np.abs(groups).max(axis=1, keepdims=True)
    best, least = np.empty_like(groups), np.full((len(groups), 1), np.inf, np.float32)
    for special in (5.0, -5.0, 8.0, -8.0):
        table = np.sort(np.float32([*-TABLE[1:], *TABLE, special]))
        scale = (amax / np.abs(table).max()).astype(np.float16).astype(np.float32)
        middles = (table[1:] + table[:-1]) / 2
        values = table[np.searchsorted(middles, groups / scale, side="left")] * scale
        error = np.sum((values - groups) ** 2, axis=1, keepdims=True)
        best = np.where(error < least, values, best)
        least = np.minimum(error, least)
    return best.reshape(x.shape)


def test_bitmod_is_far_faster_than_numpy(benchmark):
    x = np.random.default_rng(0).standard_normal((SIDE, SIDE), np.float32)
    scheme, on_device = parse_scheme("bitmod-fp4"), jnp.asarray(x)
    agreement = np.mean(by_numpy(x[:16]) == np.asarray(fake_quantize(on_device[:16], scheme)))
    assert agreement > 0.99, "sums in another order may choose another candidate"
    times = []
    for _ in range(3):
        started = time.perf_counter()
        by_numpy(x[:PEER_ROWS])
        times.append(time.perf_counter() - started)
    run = lambda: fake_quantize(on_device, scheme).block_until_ready()  # noqa: E731
    run()
    benchmark.pedantic(run, rounds=ROUNDS)
    rate = x.size / benchmark.stats.stats.min / 1e6
    peer = PEER_ROWS * SIDE / min(times) / 1e6
    benchmark.extra_info |= {"m_elements_per_s": rate, "peer": peer, "ratio": rate / peer}
    assert rate > 60
    assert rate > 5 * peer
