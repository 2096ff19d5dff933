"""The same bits from a compiler that may neither rewrite divisions nor fuse multiply-adds."""

import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from numerics import fake_quantize, grouped_dot, parse_scheme, quantize

#: Removes the reciprocal rewrite, and with the older instruction set fused multiply-adds.
STRICT = "--xla_disable_hlo_passes=algsimp --xla_cpu_max_isa=AVX"
TEXTS = ("int4:fp32", "int8:floatmin:g32:fp32", "fp4", "nf4", "mxfp4-rceil", "nvfp4", "ternary")
SETS = ("exponents", "largest values", "ties", "tiny")


def results(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values of every scheme on every input, and one product, as bits."""
    found = {}
    for text in TEXTS:
        for name in SETS:
            values = fake_quantize(jnp.asarray(inputs[name]), parse_scheme(text))
            found[f"{text} {name}"] = np.asarray(values).view(np.uint32)
    a = quantize(jnp.asarray(inputs["exponents"]), parse_scheme("int8:token:fp32"))
    w = quantize(jnp.asarray(inputs["ties"]), parse_scheme("int4:fp32"))
    return found | {"dot": np.asarray(grouped_dot(a, w)).view(np.uint32)}


def test_a_strict_compiler_gives_the_same_bits(gold, tmp_path):
    inputs = gold.block_sets()
    np.savez(tmp_path / "inputs.npz", **inputs)
    subprocess.run(
        [sys.executable, __file__, tmp_path / "inputs.npz", tmp_path / "strict.npz"],
        env=os.environ | {"XLA_FLAGS": STRICT, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=True,
    )
    strict = np.load(tmp_path / "strict.npz")
    for name, bits in results(inputs).items():
        assert np.array_equal(strict[name], bits), name


if __name__ == "__main__":
    np.savez(sys.argv[2], **results(dict(np.load(sys.argv[1]))))
