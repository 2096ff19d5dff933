"""Steps of OmniQuant: learned ranges lose less than clipped ones, learned scales compose."""

import numpy as np
import pytest
from _helpers.blocks import quantized_block

from numerics import parse_scheme, quantize
from numerics.solvers.hessian import output_error
from sim.methods.learned import Let, Lwc
from sim.methods.scales import Awq
from sim.methods.solvers import Clip

NAME = "self_attn.q_proj"


def error(codes, found) -> float:
    weight = found.tensors[f"{NAME}.weight"]
    difference = np.asarray(codes.dequantize()) - weight
    return output_error(difference, found.statistics["qkv"].hessian)


def test_learned_ranges_lose_less_than_clipped_ones():
    found = quantized_block()
    data = found.tensors[f"{NAME}.weight"], parse_scheme("int3:g16"), found.statistics["qkv"]
    learned, clipped = (error(step.solve(*data), found) for step in (Lwc(steps=10), Clip()))
    assert learned < 0.8 * clipped


def test_scales_learned_after_awq_lose_no_more():
    start, searched, learned = (quantized_block(activations=None) for _ in range(3))
    for found in (searched, learned):
        Awq(sites="qkv").apply(found)
    Let(sites="qkv").apply(learned)
    scheme = parse_scheme("int3:g16")
    losses = []
    for found in (start, searched, learned):
        total = 0.0
        for member in ("q", "k", "v"):
            weight = found.tensors[f"self_attn.{member}_proj.weight"]
            difference = np.asarray(quantize(weight, scheme).dequantize()) - weight
            total += output_error(difference, found.statistics["qkv"].hessian)
        losses.append(total)
    assert losses[2] < losses[1] < losses[0]


WRONG = [
    (lambda: Lwc(steps=-1), "option steps of lwc is -1; at least 0"),
    (lambda: Let(rate=0.0), "option rate of let is 0; it must be a number above 0"),
    (
        lambda: Lwc().check(parse_scheme("int8:tensor"), (8, 8)),
        (
            "int8:tensor:fp16 has one scale for the whole tensor; learned ranges need a scale per "
            "row or group, as in int4:channel or int4:g64"
        ),
    ),
    (
        lambda: Lwc().check(parse_scheme("bitmod-fp4"), (8, 128)),
        (
            "bitmod-fp4 has no ranges to learn; they are for element formats with scales, such as "
            "int4, fp4 and mxfp4"
        ),
    ),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_errors_say_what_works(make, message):
    with pytest.raises(ValueError) as refused:
        make()
    assert str(refused.value) == message
