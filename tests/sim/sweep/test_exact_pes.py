"""``nearest_sweep`` of the PEs with exact sums: every such PE has one, and it is correct."""

import jax.numpy as jnp
import pytest

from numerics import SCHEMES, grouped_dot, parse_scheme, quantize
from numerics.pe.block_shift import BlockShifted
from rtl.catalog import PES, ROUNDING
from rtl.pe.block_dot.element import BlockDotPe
from rtl.pe.codebook.element import AdditivePe
from rtl.pe.column_signs.element import ColumnSignsPe
from rtl.pe.dot_product.element import DotProductPe

#: Names of formats by the short name of a PE's weights, where the two differ.
NAMES = {
    "i2_s": "ternary",
    "tl1": "ternary",
    "tl2": "ternary",
    "uint4 with zero point": "int4:asym",
}


def said(words):
    return {name for name, pe in PES.items() if words in pe.nearest_sweep}


def kinds(*kinds):
    return {name for name, pe in PES.items() if isinstance(pe, kinds)}


def test_every_pe_either_rounds_or_says_which_sweep_is_nearest():
    assert {name for name, pe in PES.items() if pe.nearest_sweep} == set(PES) - set(ROUNDING)


def test_notes_name_what_no_sweep_computes():
    windowed = {n for n in kinds(BlockDotPe) if isinstance(PES[n].model, BlockShifted)}
    assert said("window") == windowed
    assert said("several blocks") == kinds(BlockDotPe) - windowed
    assert said("in 8 bits") == kinds(AdditivePe, ColumnSignsPe)
    with_fp16 = {n for n in kinds(DotProductPe) if PES[n].activation_name == "fp16"}
    assert said("activations in FP16") == with_fp16


def bit_true(name):
    weights, x = NAMES.get(PES[name].weight_name, PES[name].weight_name), jnp.ones((2, 64))
    activations = quantize(x, parse_scheme(f"{PES[name].activation_name}:token:fp32"))
    return grouped_dot(activations, quantize(x, SCHEMES.get(weights) or parse_scheme(weights)))


@pytest.mark.parametrize("name", sorted(said("--bit-true not at all")))
def test_bit_true_dot_products_exist_where_a_note_names_them(name):
    assert bit_true(name).shape == (2, 2)


@pytest.mark.parametrize("name", ["e8p-dot", "bitmod-fp4"])
def test_bit_true_dot_products_do_not_exist_where_no_note_names_them(name):
    with pytest.raises(ValueError):
        bit_true(name)
