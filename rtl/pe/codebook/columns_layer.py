"""Layers of VPTQ: vectors down the columns of the weights."""

from dataclasses import replace
from functools import partial

import numpy as np

from numerics.pe.codebook_dot import integer_entries
from numerics.pe.exact_product import exact_product
from rtl.fields import Operands
from rtl.layer.layer import Layer, checked, in_beats, int8_tokens, quantized, unscaled, whole_beats
from rtl.pe.codebook.element import ColumnBooksPe
from rtl.pe.codebook.layer import loads


def layer(
    pe: ColumnBooksPe, weight: np.ndarray, x: np.ndarray, *, lanes: int | None, tile: int | None
) -> Layer:
    """Return a layer of vectors down the columns, with codebook entries rounded to 8 bits.

    Scales of columns multiply the activations before the PE; biases of columns add ``x @ biases``
    to all outputs of a token after it.
    """
    if pe.books != 2:
        raise ValueError(f"{pe.books} codebooks; VPTQ has 2, main and residual")
    rows, vectors = tile or pe.rows, lanes or pe.columns
    pe = checked(replace(pe, rows=rows, columns=vectors, lanes=rows * vectors))
    entries = 1 << pe.code_bits
    q = quantized(weight, f"vptq-v{pe.rows}-k{entries}-{entries}")
    half = {name: np.asarray(q.arrays[name]).astype(np.float32) for name in ("scales", "biases")}
    books = np.stack([np.asarray(q.arrays[f"{p}codebook"]) for p in ("", "residual_")])
    numbers, unit = integer_entries(books.astype(np.float64))
    codes = np.stack([np.asarray(q.arrays[f"{p}codes"]) for p in ("", "residual_")], axis=-1)
    activations, token_scales = int8_tokens(x * half["scales"])
    inputs = np.asarray(activations.codes)[:, np.asarray(q.arrays["permutation"]).astype(np.int64)]
    group = whole_beats(pe.length, pe.columns)

    def operands(outputs: np.ndarray, tokens: np.ndarray, index: int) -> Operands:
        part = slice(index * group, (index + 1) * group)
        of_vector = codes[outputs[:, 0] // pe.rows, part].reshape(len(tokens), -1)
        return {
            "codes": in_beats(of_vector, pe.columns * pe.books),
            "activations": in_beats(inputs[tokens, part], pe.columns),
            "load": np.zeros(
                (len(tokens), -(-inputs[:, part].shape[1] // pe.columns), 1), np.uint8
            ),
        }

    # Numbers of codebooks are in units of 1/8.
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
