"""LQ-LoRA's double quantization: scalar definition, storage and refused parameters."""

import itertools

import numpy as np
import pytest

from numerics import parse_scheme, quantize
from numerics.conventions.lq_double import LqDouble, quantize_groups, scale_of, step_of
from numerics.formats import BF16, E2M1, FP16, FP32
from tests.numerics.conventions.test_double_nf4 import bits, tensors

SCHEMES = [
    pytest.param(
        LqDouble(bits=b, scale_bits=s, second=second, super_block=block, size=size),
        # Each combination takes seconds to compile.
        marks=[pytest.mark.slow] * (b < 4),
    )
    for b, s, second, block, size in (
        (4, 8, FP32, 256, 64),
        (3, 4, FP16, 16, 16),
        (2, 2, BF16, 64, 32),
        (2, 8, FP16, 256, 64),
    )
]


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_arrays_are_the_definition(scheme):
    for x in tensors():
        q = quantize(x, scheme.with_group_size(8) if x.shape[1] < scheme.size else scheme)
        size = q.scheme.size
        parts = [
            (row, slice(start, start + size))
            for row, start in itertools.product(range(x.shape[0]), range(0, x.shape[1], size))
        ]
        with np.errstate(all="ignore"):
            codes, scale_codes, tops, least = quantize_groups(
                [x[part].tolist() for part in parts], q.scheme
            )
            assert np.asarray(q.arrays["scale_codes"]).ravel().tolist() == scale_codes
            assert bits(q.arrays["scale_scales"]).tolist() == bits(tops).tolist()
            assert bits(q.arrays["least"]) == bits(least)
            values = np.asarray(q.dequantize())
            for i, part in enumerate(parts):
                assert np.asarray(q.codes)[part].tolist() == codes[i]
                top = np.float32(tops[i // q.scheme.super_block])
                scale = scale_of(scale_codes[i], step_of(top, q.scheme), least)
                wanted = np.float32(q.scheme.element.values)[codes[i]] * scale
                wanted = np.where(np.abs(wanted) < 2.0**-126, wanted * 0, wanted)
                assert bits(values[part]).tolist() == bits(wanted).tolist()


# Bits per weight from codebooks_ternary_structured, section 8.1 (NF-1).
@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "nf4-lqdq": 4.12695,
        "nf3-lqdq": 3.12695,
        "nf2-lqdq-fp16": 2.12598,
        "nf2-lqdq-s2-fp16": 2.03223,
    }.items(),
)
def test_storage_is_that_of_the_paper(name, expected):
    scheme = parse_scheme(name)
    assert scheme.name == name
    assert scheme.bits_per_weight((4096, 4096)) == pytest.approx(expected, abs=6e-6)


def test_an_error_is_near_that_of_plain_scales():
    x = np.random.default_rng(3).standard_normal((64, 512)).astype(np.float32)
    errors = [
        float(((np.asarray(quantize(x, parse_scheme(name)).dequantize()) - x) ** 2).mean())
        for name in ("nf4", "nf4-lqdq", "nf4-lqdq-s2")
    ]
    assert errors[1] < 1.005 * errors[0] and errors[0] < errors[2] < 1.5 * errors[0]


def test_what_it_does_not_have_is_refused():
    with pytest.raises(ValueError, match=r"^LQ-LoRA has normal floats of 2, 3 or 4 bits, not 5$"):
        parse_scheme("nf5-lqdq")
    with pytest.raises(ValueError, match=r"scales of 2 to 8 bits, not 9$"):
        parse_scheme("nf4-lqdq-s9")
    with pytest.raises(ValueError, match=r"second level is fp32, fp16 or bf16, not fp4_e2m1$"):
        LqDouble(bits=4, second=E2M1)
