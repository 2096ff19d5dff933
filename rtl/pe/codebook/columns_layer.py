"""Layers of PEs that have several columns of weights for one row of activations."""

from functools import partial

import numpy as np

from numerics import grouped_dot
from numerics.pe.codebook_dot import integer_entries
from numerics.pe.column_signs import integer_columns
from numerics.pe.exact_product import exact_product
from numerics.pe.lookup import tl1_codes, tl2_codes
from rtl.element import Operands
from rtl.layer.layer import (
    Layer,
    Rows,
    in_all_beats,
    in_beats,
    int8_tokens,
    of_groups,
    quantized,
    unscaled,
    whole_beats,
)
from rtl.layer.vectors import loads
from rtl.pe.codebook.element import ColumnBooksPe
from rtl.pe.column_signs.element import ColumnSignsPe
from rtl.pe.lookup.element import LookupPe
from rtl.pe.zero_point.element import ZeroPointPe


def zero_point_layer(pe: ZeroPointPe, weight: np.ndarray, x: np.ndarray) -> Layer:
    """Return a layer of unsigned weights, whose zero points the PE takes off."""
    group = whole_beats(pe.length, pe.values)
    # Sizes that fit no circuit are told.
    _ = pe.result_shape
    weights = quantized(weight, f"{pe.weights.name.removeprefix('u')}:g{group}:asym")
    activations, token_scales = int8_tokens(x)
    codes, rows = np.asarray(weights.codes), np.asarray(activations.codes)
    zeros = np.asarray(weights.arrays["zero_points"]).reshape(len(weight), -1)
    assert (pe.weights.unit, pe.activations.unit) == (1.0, 1.0)

    def operands(outputs: np.ndarray, tokens: np.ndarray, index: int) -> Operands:
        part = slice(index * group, (index + 1) * group)
        beats = in_beats(rows[tokens, part], pe.values)
        by_value = _by_value(codes[:, part][outputs], beats.shape[1] * pe.values)
        return {
            "weights": by_value.reshape(len(tokens), -1, pe.lanes),
            "activations": beats,
            "zeros": in_all_beats(zeros[outputs, index], beats.shape[1]),
        }

    return Layer(
        pe=pe,
        outputs=len(weight),
        inputs=weight.shape[1],
        group=group,
        columns=pe.columns,
        operands=operands,
        scales=of_groups(weights.scales, len(weight)),
        token_scales=token_scales,
        expected=np.asarray(grouped_dot(activations, weights)),
        rows=Rows(
            weights=codes,
            activations=rows,
            formats={"weights": pe.weights.name, "activations": pe.activations.name},
        ),
    )


def _by_value(codes: np.ndarray, length: int) -> np.ndarray:
    """Return codes, shape (pairs, columns, length), by value and of each value by column."""
    filled = np.pad(codes, ((0, 0), (0, 0), (0, length - codes.shape[2])))
    swapped: np.ndarray = filled.swapaxes(1, 2)
    return swapped


def signs_layer(pe: ColumnSignsPe, weight: np.ndarray, x: np.ndarray) -> Layer:
    """Return a layer of signs, with scales and offsets of inputs rounded to 8 bits."""
    group = whole_beats(pe.length, pe.values)
    _ = pe.result_shape
    q = quantized(weight, "fbi-binary")
    given = (np.asarray(q.arrays[name]).astype(np.float64)[0] for name in ("scales", "offsets"))
    scales, offsets, unit = integer_columns(*given)
    packed = np.asarray(q.arrays["signs"])
    signs = np.unpackbits(packed, axis=1, bitorder="little")[:, : weight.shape[1]]
    activations, token_scales = int8_tokens(x)
    rows = np.asarray(activations.codes)
    codes = {
        name: each.astype(np.int8).view(np.uint8)[None]
        for name, each in (("scales", scales), ("offsets", offsets))
    }

    def operands(outputs: np.ndarray, tokens: np.ndarray, index: int) -> Operands:
        part = slice(index * group, (index + 1) * group)
        beats = in_beats(rows[tokens, part], pe.values)
        by_value = _by_value(signs[:, part][outputs], beats.shape[1] * pe.values)
        of_inputs = {
            name: np.broadcast_to(in_beats(each[:, part], pe.values), beats.shape)
            for name, each in codes.items()
        }
        return {
            "signs": by_value.reshape(len(tokens), -1, pe.lanes),
            "activations": beats,
            **of_inputs,
        }

    of_rows = np.full((len(weight), 1), unit, np.float32)
    values = unscaled(q, scales=scales, offsets=offsets)
    return Layer(
        pe=pe,
        outputs=len(weight),
        inputs=weight.shape[1],
        group=group,
        columns=pe.columns,
        operands=operands,
        scales=of_rows,
        token_scales=token_scales,
        expected=exact_product(
            unscaled(activations), values, group=group, scales=of_rows, token_scales=token_scales
        ),
    )


def lookup_layer(pe: LookupPe, weight: np.ndarray, x: np.ndarray) -> Layer:
    """Return a layer of ternary weights, in codes of two or three."""
    values = pe.size * pe.tables
    group = whole_beats(pe.length, values)
    _ = pe.result_shape
    weights = quantized(weight, f"ternary:g{group}")
    activations, token_scales = int8_tokens(x)
    trits = (np.asarray(weights.codes).astype(np.int64) + 1 & 3) - 1
    rows = np.asarray(activations.codes)

    def operands(outputs: np.ndarray, tokens: np.ndarray, index: int) -> Operands:
        part = slice(index * group, (index + 1) * group)
        beats = in_beats(rows[tokens, part], values)
        missing = beats.shape[1] * values - rows[:, part].shape[1]
        codes = _ternary_codes(np.pad(trits[:, part], ((0, 0), (0, missing))), pe.size)
        by_table = codes[outputs].swapaxes(1, 2)
        shape = len(tokens), beats.shape[1], pe.tables * pe.columns
        return {"codes": by_table.reshape(shape), "activations": beats}

    return Layer(
        pe=pe,
        outputs=len(weight),
        inputs=weight.shape[1],
        group=group,
        columns=pe.columns,
        operands=operands,
        scales=of_groups(weights.scales, len(weight)),
        token_scales=token_scales,
        expected=np.asarray(grouped_dot(activations, weights)),
    )


def _ternary_codes(trits: np.ndarray, size: int) -> np.ndarray:
    """Return TL1's codes of pairs, or TL2's of triples with the sign above the magnitude."""
    if size == 2:
        return np.asarray(tl1_codes(trits), np.uint8)
    magnitudes, signs = tl2_codes(trits)
    return np.asarray(magnitudes | signs << 4, np.uint8)


def vptq_layer(pe: ColumnBooksPe, weight: np.ndarray, x: np.ndarray) -> Layer:
    """Return a layer of vectors down the columns, with entries of 8 bits.

    Scales of columns belong to the activations, and the columns' biases add ``x @ biases`` to all
    outputs of a token, without the PE.
    """
    if pe.books != 2:
        raise ValueError(f"{pe.books} codebooks; VPTQ has 2, main and residual")
    _ = pe.result_shape
    entries = 1 << pe.code_bits
    q = quantized(weight, f"vptq-v{pe.rows}-k{entries}-{entries}")
    half = {name: np.asarray(q.arrays[name]).astype(np.float32) for name in ("scales", "biases")}
    books = np.stack([np.asarray(q.arrays[f"{p}codebook"]) for p in ("", "residual_")])
    numbers, unit = integer_entries(books.astype(np.float64))
    codes = np.stack([np.asarray(q.arrays[f"{p}codes"]) for p in ("", "residual_")], axis=-1)
    activations, token_scales = int8_tokens(x * half["scales"])
    rows = np.asarray(activations.codes)[:, np.asarray(q.arrays["permutation"]).astype(np.int64)]
    group = whole_beats(pe.length, pe.columns)

    def operands(outputs: np.ndarray, tokens: np.ndarray, index: int) -> Operands:
        part = slice(index * group, (index + 1) * group)
        of_vector = codes[outputs[:, 0] // pe.rows, part].reshape(len(tokens), -1)
        return {
            "codes": in_beats(of_vector, pe.columns * pe.books),
            "activations": in_beats(rows[tokens, part], pe.columns),
            "load": np.zeros((len(tokens), -(-rows[:, part].shape[1] // pe.columns), 1), np.uint8),
        }

    # The units of the codebooks are an eighth.
    scales = np.full((len(weight), 1), unit / 8, np.float32)
    values = unscaled(q, scales=8.0, biases=0.0, codebook=numbers[0], residual_codebook=numbers[1])
    exact = exact_product(
        unscaled(activations), values, group=group, scales=scales, token_scales=token_scales
    )
    offsets = (x.astype(np.float64) @ half["biases"]).astype(np.float32)
    return Layer(
        pe=pe,
        outputs=len(weight),
        inputs=weight.shape[1],
        group=group,
        columns=pe.rows,
        operands=operands,
        scales=scales,
        token_scales=token_scales,
        offsets=offsets,
        expected=exact + offsets[:, None],
        prologue=partial(loads, pe, numbers, columns=1),
    )
