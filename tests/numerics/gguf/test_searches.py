"""K types and IQ4: the array code against the scalar searches and against ggml's own bytes."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import gguf_inputs as inputs

from numerics import fake_quantize, quantize
from numerics.gguf.block_types import BLOCK_TYPES
from numerics.gguf.entries import ENTRIES
from numerics.gguf.reference import encode_block

#: Block types whose searches have code of their own; the last three are slow tests.
SEARCHED = ("q3_k", "q4_k", "q6_k", "iq4_xs", "q2_k", "q5_k", "iq4_nl")
LATER = SEARCHED[4:]
NAMES = [pytest.param(n, marks=[pytest.mark.slow] * (n in LATER)) for n in SEARCHED]
#: Types of the two slowest tests: one with minima and one with a table; the others are slow.
TWO = [pytest.param(n, marks=[pytest.mark.slow] * (n not in ("q4_k", "iq4_xs"))) for n in SEARCHED]
#: Magnitudes of whole groups for which no sum of ggml leaves the range of float32.
LEAST, GREATEST = 2.0**-15, 2.0**14


@pytest.fixture(scope="module")
def ggml() -> dict[str, np.ndarray]:
    path = Path(__file__).parents[2] / "golden" / "numerics" / "ggml.npz"
    with np.load(path, allow_pickle=False) as stored:
        return {key.lower(): array for key, array in stored.items()}


def blocks_of(name: str, x: np.ndarray) -> np.ndarray:
    found = np.asarray(quantize(x, ENTRIES[name][0]).arrays["blocks"])
    return found.reshape(-1, BLOCK_TYPES[name].size)


def is_ordinary(name: str, x: np.ndarray) -> np.ndarray:
    """Whether each block has only groups of zeros and of ordinary magnitudes."""
    kind = BLOCK_TYPES[name]
    largest = np.abs(x.reshape(-1, kind.groups, kind.values // kind.groups)).max(axis=-1)
    return ((largest == 0) | ((largest > LEAST) & (largest < GREATEST))).all(axis=-1)


def test_every_searched_type_is_tested():
    assert set(SEARCHED) == {n for n, kind in BLOCK_TYPES.items() if kind.rule.is_search}


@pytest.mark.parametrize("name", NAMES)
def test_blocks_are_those_of_the_c_library(ggml, name):
    ours, theirs = blocks_of(name, ggml["x"]), ggml[f"{name}/blocks"]
    compared = is_ordinary(name, ggml["x"])
    assert compared.mean() > 0.5
    assert np.array_equal(ours[compared], theirs[compared])


@pytest.mark.parametrize("name", TWO)
def test_the_array_code_has_the_bytes_of_the_scalar_search(name):
    rng = np.random.default_rng(3)
    x = np.concatenate(
        [
            inputs.specials(),
            rng.standard_normal((1, inputs.WIDTH))
            * 2.0 ** rng.integers(-30, 30, (1, inputs.WIDTH)),
            rng.integers(-4, 5, (1, inputs.WIDTH)) / 2,
            np.where(np.arange(inputs.WIDTH)[None] % 96 < 64, 0, -1e-14),
        ]
    ).astype(np.float32)
    kind = BLOCK_TYPES[name]
    blocks = x.reshape(-1, kind.values)[:: 1 if kind.values == 256 else 7]
    wanted = [encode_block(kind, block.tolist()) for block in blocks]
    found = blocks_of(name, blocks)
    differing = [i for i, block in enumerate(wanted) if block != bytes(found[i])]
    assert differing == []


@pytest.mark.parametrize("name", TWO)
def test_rounding_is_what_the_blocks_decode_to(name):
    scheme, x = ENTRIES[name][0], inputs.specials()
    rounded = np.asarray(fake_quantize(x, scheme))
    restored = np.asarray(quantize(x, scheme).dequantize())
    assert np.array_equal(rounded, restored, equal_nan=True)
    is_good = np.isfinite(x[:4].reshape(4, -1, scheme.group_size)).all(axis=-1)
    found = np.isfinite(restored[:4])
    assert np.array_equal(found, np.repeat(is_good, scheme.group_size, axis=1))


@pytest.mark.parametrize(
    ("search", "plain"), [("q4_k", "q4_0"), ("q5_k", "q5_0"), ("iq4_nl", "q4_0")]
)
def test_a_search_has_a_smaller_error_than_the_simple_type_of_its_size(search, plain):
    x = np.random.default_rng(1).standard_normal((8, 512)).astype(np.float32)
    errors = [
        float(jnp.sum((fake_quantize(x, ENTRIES[name][0]) - x) ** 2)) for name in (search, plain)
    ]
    assert errors[0] < 0.9 * errors[1]
