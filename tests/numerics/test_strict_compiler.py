"""Codes do not change under a compiler that neither rewrites divisions nor fuses multiply-adds."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import gold

from numerics import Scheme, fake_quantize, grouped_dot, parse_scheme, quantize

#: XLA flags that disable the reciprocal rewrite and, with an older instruction set, fused
#: multiply-adds.
STRICT = "--xla_disable_hlo_passes=algsimp --xla_cpu_max_isa=AVX"
TEXTS = ("int4:fp32", "int8:floatmin:g32:fp32", "fp4", "nf4", "mxfp4-rceil", "nvfp4", "ternary")
#: One scheme for each other kind of arithmetic.
MORE = (
    "q4_0", "q4_1", "q8_0", "tq1_0", "mxfp4-gguf", "bitmod-fp4", "bitmod-fp4-fp16", "ant4",
    "olive4-int", "int4-awq", "int4-ct-asym", "nvfp4-ct", "nvfp4-torchao", "twn", "bitnet-ternary",
    "dint4-f", "zqfp4-m2", "int4-vs", "nf4-bnb", "nf4-dq", "mxfp8_e4m3-even", "zqfp4-m1-nearest",
)  # fmt: skip
SETS = ("exponents", "largest values", "ties", "tiny")


def results(inputs: dict[str, np.ndarray], texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the values of every scheme on every input, and one matrix product, as bits."""
    found = {}
    for text in texts:
        scheme = parse_scheme(text)
        for name in SETS:
            values = fake_quantize(jnp.asarray(fitting(inputs[name], scheme)), scheme)
            found[f"{text} {name}"] = np.asarray(values).view(np.uint32)
    a = quantize(jnp.asarray(inputs["exponents"]), parse_scheme("int8:token:fp32"))
    w = quantize(jnp.asarray(inputs["ties"]), parse_scheme("int4:fp32"))
    return found | {"dot": np.asarray(grouped_dot(a, w)).view(np.uint32)}


def fitting(x: np.ndarray, scheme: Scheme) -> np.ndarray:
    """Return copies of rows side by side, so that blocks of every size are full."""
    try:
        scheme.check_shape(x.shape)
    except ValueError:
        return np.tile(x, 256)
    return x


#: Import path of the other process: the project and the test helpers.
PATHS = [str(Path(__file__).parents[n]) for n in (2, 1)]


@pytest.mark.parametrize("texts", [TEXTS, pytest.param(MORE, marks=pytest.mark.slow)])
def test_a_strict_compiler_gives_the_same_bits(tmp_path, texts):
    inputs = gold.block_sets()
    np.savez(tmp_path / "inputs.npz", **inputs)
    subprocess.run(
        [sys.executable, __file__, tmp_path / "inputs.npz", tmp_path / "strict.npz", *texts],
        env=os.environ | {"XLA_FLAGS": STRICT, "PYTHONPATH": os.pathsep.join(PATHS)},
        check=True,
    )
    strict = np.load(tmp_path / "strict.npz")
    for name, bits in results(inputs, texts).items():
        assert np.array_equal(strict[name], bits), name


if __name__ == "__main__":
    np.savez(sys.argv[2], **results(dict(np.load(sys.argv[1])), sys.argv[3:]))
