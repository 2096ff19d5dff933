"""Speed of the GGUF quantizers and decoders; run with ``-o addopts= --import-mode=importlib``.

The peer is ``gguf.quants`` on the same rows in the same run. Quantizing is asserted to be faster:
by far for blocks of 32 with nibbles or bytes, but for tq2_0 only just, and not in every run.
Decoding is not asserted against the peer, which is faster at q8_0, tq2_0, q2_k, q4_k and q6_k; it
is asserted against a plain copy, and the peer's rate is recorded beside.
"""

import time

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import quantize
from numerics.gguf.entries import ENTRIES
from numerics.schemes.tensor import QuantizedTensor

ROWS, WIDTH, ROUNDS = 2048, 4096, 3


def foreign(name):
    return gguf.GGMLQuantizationType[name.removesuffix("-gguf").upper()]


def rate_of(function, count):
    """Million elements a second, best of some runs."""
    function()
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return count / min(times) / 1e6


def copy_rate(x):
    copy = jax.jit(lambda a: a * 1.5)
    return rate_of(lambda: copy(x).block_until_ready(), x.size)


#: Types that gguf.quants quantizes.
SIMPLE = [name for name, (scheme, _) in ENTRIES.items() if not scheme.block_type.rule.is_search]


@pytest.mark.parametrize("name", SIMPLE)
def test_quantizing_against_gguf(name, benchmark):
    x = np.random.default_rng(0).standard_normal((ROWS, WIDTH), np.float32)
    on_device, scheme = jnp.asarray(x), ENTRIES[name][0]
    peer = rate_of(lambda: gguf.quantize(x, foreign(name)), ROWS * WIDTH)
    run = lambda: quantize(on_device, scheme).arrays["blocks"].block_until_ready()  # noqa: E731
    run()
    benchmark.pedantic(run, rounds=ROUNDS)
    rate = x.size / benchmark.stats.stats.min / 1e6
    benchmark.extra_info |= {"m_elements_per_s": rate, "peer": peer, "copy": copy_rate(on_device)}
    assert rate > peer


@pytest.mark.parametrize("name", [name for name in ENTRIES if name not in SIMPLE])
def test_searching(name, benchmark):
    """Million elements a second; ggml's C code reaches 1 to 14 on one core."""
    x = jnp.asarray(np.random.default_rng(0).standard_normal((256, WIDTH), np.float32))
    run = lambda: quantize(x, ENTRIES[name][0]).arrays["blocks"].block_until_ready()  # noqa: E731
    run()
    benchmark.pedantic(run, rounds=ROUNDS)
    benchmark.extra_info["m_elements_per_s"] = x.size / benchmark.stats.stats.min / 1e6


@pytest.mark.parametrize("name", ENTRIES)
def test_dequantizing_against_a_copy(name, benchmark):
    scheme = ENTRIES[name][0]
    (field,) = scheme.layout((ROWS, WIDTH))
    raw = np.random.default_rng(0).integers(0, 128, field.shape, np.uint8) & 0x3B
    q = QuantizedTensor(arrays={"blocks": jnp.asarray(raw)}, scheme=scheme, shape=(ROWS, WIDTH))
    with np.errstate(all="ignore"):
        peer = rate_of(lambda: gguf.dequantize(raw, foreign(name)), ROWS * WIDTH)
    run = lambda: q.dequantize().block_until_ready()  # noqa: E731
    run()
    benchmark.pedantic(run, rounds=ROUNDS)
    rate = ROWS * WIDTH / benchmark.stats.stats.min / 1e6
    copied = copy_rate(jnp.ones((ROWS, WIDTH), jnp.float32))
    benchmark.extra_info |= {"m_elements_per_s": rate, "peer": peer, "copy": copied}
    assert rate > copied / 4, "the new float32 array alone takes the time of a copy"
