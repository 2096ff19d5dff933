"""LLM-FP4's pre-shifted exponents: the published vector, and the choice of a block."""

import numpy as np
import pytest
from _helpers.blocks import quantized_block

from numerics import fake_quantize, parse_scheme
from sim.methods.chain import parse_chain
from sim.methods.pre_shift import PreShift, shift_scales

X = np.float32(
    [[1.0, 0.1, -8.0, 0.5], [-0.7, 0.02, 5.0, 0.25], [0.3, -0.15, 2.0, -1.0],
     [0.9, 0.05, -6.5, 0.75]]
)  # fmt: skip


def test_shifts_and_inputs_are_those_of_the_published_vector():
    scales = shift_scales(np.abs(X).max(axis=0), 2)
    assert (-np.log2(scales)).tolist() == [3, 3, 0, 3]
    shifted = (X / scales).reshape(1, -1)
    rounded = np.asarray(fake_quantize(shifted, parse_scheme("fp4_e2m1:channel:fp32")))
    expected = [[1, 1 / 12, -8, 0.5], [-2 / 3, 0, 16 / 3, 0.25], [1 / 3, -1 / 6, 2, -1],
                [1, 1 / 12, -16 / 3, 0.5]]  # fmt: skip
    found = rounded.reshape(4, 4) * scales
    # The last value, 0.75, is 9 units: nearer to the number 8 than to 6, which the vector has.
    assert found[3, 3] == pytest.approx(2 / 3)
    assert found.ravel()[:-1] == pytest.approx(np.array(expected).ravel()[:-1], rel=1e-6)


def test_shifts_have_few_bits_and_leave_dead_channels():
    largest = np.array([0.0, 1e-6, 0.2, 1.0])
    assert shift_scales(largest, 3).tolist() == [1, 2.0**-7, 0.25, 1]
    assert shift_scales(np.zeros(3), 2).tolist() == [1, 1, 1]


def test_a_block_takes_powers_of_two():
    before, after = quantized_block(), quantized_block()
    PreShift(sites="qkv").apply(after)
    scales = before.tensors["attn_norm.weight"] / after.tensors["attn_norm.weight"]
    assert set(np.unique(scales)) <= {1, 0.5, 0.25, 0.125}
    assert (scales < 1).any()


def test_text():
    assert parse_chain("pre-shift(bits=3)+gptq").block == (PreShift(bits=3),)
    with pytest.raises(ValueError, match="bits of pre-shift is 0; it can be 1 to 4"):
        parse_chain("pre-shift(bits=0)")
