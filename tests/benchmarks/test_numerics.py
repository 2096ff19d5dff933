"""Speed of quantization and of exact products; run with ``--benchmark-only``.

Each scheme runs beside a plain numpy and ml_dtypes peer of the same definition in the same
process; ``extra_info`` has million elements a second of both and their ratio.
"""

import time

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from numerics import fake_quantize, grouped_dot, parse_scheme, quantize

SHAPE = (4096, 4096)


def peer_fp4(x: np.ndarray) -> np.ndarray:
    groups = x.reshape(-1, 128)
    scales = _stored(np.abs(groups).max(axis=1, keepdims=True) / np.float32(6))
    codes = (groups / scales).astype(ml_dtypes.float4_e2m1fn)
    return (codes.astype(np.float32) * scales).reshape(x.shape)


def peer_int4(x: np.ndarray) -> np.ndarray:
    groups = x.reshape(-1, 128)
    scales = _stored(np.abs(groups).max(axis=1, keepdims=True) / np.float32(7))
    codes = np.clip(np.rint(groups / scales), -7, 7).astype(np.int8)
    return (codes.astype(np.float32) * scales).reshape(x.shape)


def peer_mxfp4(x: np.ndarray) -> np.ndarray:
    blocks = x.reshape(-1, 32)
    exponents = np.frexp(np.abs(blocks).max(axis=1, keepdims=True))[1] - 1 - 2
    scales = np.ldexp(np.float32(1), exponents)
    codes = (blocks / scales).astype(ml_dtypes.float4_e2m1fn)
    return (codes.astype(np.float32) * scales).reshape(x.shape)


def _stored(scales: np.ndarray) -> np.ndarray:
    return scales.astype(np.float16).astype(np.float32)


PEERS = {"fp4": peer_fp4, "int4": peer_int4, "mxfp4": peer_mxfp4}


@pytest.fixture(scope="module")
def weights() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(SHAPE, np.float32)


@pytest.mark.parametrize("text", PEERS)
def test_fake_quantization(benchmark, text, weights):
    scheme, x = parse_scheme(text), jnp.asarray(weights)
    start = time.perf_counter()
    expected = PEERS[text](weights)
    peer_s = time.perf_counter() - start
    assert np.array_equal(fake_quantize(x, scheme), expected)
    benchmark.pedantic(lambda: fake_quantize(x, scheme).block_until_ready(), rounds=5)
    ours = weights.size / benchmark.stats.stats.min / 1e6
    peers = weights.size / peer_s / 1e6
    benchmark.extra_info |= {"mega_elements_per_s": ours, "peer": peers, "ratio": ours / peers}


@pytest.mark.parametrize(
    "texts", [("int8:token:fp32", "int4"), ("mxfp8_e4m3", "mxfp4")], ids=" ".join
)
def test_exact_product(benchmark, texts, weights):
    a, w = (
        quantize(jnp.asarray(weights[:rows, :576]), parse_scheme(text))
        for rows, text in zip((512, 1536), texts, strict=True)
    )
    jax.block_until_ready(grouped_dot(a, w))
    benchmark.pedantic(lambda: grouped_dot(a, w).block_until_ready(), rounds=5)
    benchmark.extra_info["giga_macs_per_s"] = 512 * 576 * 1536 / benchmark.stats.stats.min / 1e9
