"""Layers of PEs whose codes stand for vectors of weights, or for weights of any precision."""

import jax.numpy as jnp
import numpy as np

from numerics import quantize
from numerics.formats import FP16, TableFormat
from numerics.pe.bit_planes import PARENT_BITS
from numerics.pe.bit_planes import weight as plane_weight
from numerics.pe.codebook_dot import integer_entries
from numerics.pe.exact_product import exact_product
from numerics.schemes.element import ElementScheme
from numerics.schemes.granularity import PerGroup
from rtl.element import Operands, ProcessingElement
from rtl.layer.layer import (
    Layer,
    in_beats,
    int8_tokens,
    of_groups,
    quantized,
    side_by_side,
    tile_of,
    unscaled,
    whole_beats,
)
from rtl.pe.bit_planes.element import BitPlanesPe
from rtl.pe.codebook.element import AdditivePe
from rtl.pe.e8p.element import E8pPe

#: Values of all planes, in half steps.
NESTED = TableFormat(
    name="nested8", table=tuple(float(plane_weight(c, PARENT_BITS)) for c in range(256))
)


def e8p_layer(pe: E8pPe, weight: np.ndarray, x: np.ndarray, columns: int) -> Layer:
    """Return a layer of E8P, with a scale a row."""
    q = quantized(weight, "e8p")
    scales = of_groups(q.scales, len(weight))
    return _vectors(
        pe,
        np.asarray(q.codes),
        unscaled(q),
        x,
        columns,
        group=whole_beats(pe.length, pe.lanes),
        codes_per_beat=pe.codes,
        unit=0.25,
        scales=scales,
    )


def additive_layer(pe: AdditivePe, weight: np.ndarray, x: np.ndarray, columns: int) -> Layer:
    """Return a layer of AQLM, with codebooks rounded to 8 bits and a scale a row."""
    q = quantized(weight, f"aqlm-{pe.books}x{pe.code_bits}")
    numbers, unit = integer_entries(np.asarray(q.arrays["codebooks"]).astype(np.float64))
    codes = np.asarray(q.codes)
    scales = of_groups(q.scales, len(weight)) * np.float32(unit)
    return _vectors(
        pe,
        codes.reshape(len(weight), -1),
        unscaled(q, scales=1.0, codebooks=numbers),
        x,
        columns,
        group=whole_beats(pe.length, pe.lanes),
        codes_per_beat=pe.books,
        unit=1.0,
        scales=scales,
        books=numbers,
    )


def planes_layer(pe: BitPlanesPe, weight: np.ndarray, x: np.ndarray, columns: int) -> Layer:
    """Return a layer of evenly spaced codes, read in all planes."""
    group = whole_beats(pe.length, pe.lanes)
    scheme = ElementScheme(element=NESTED, granularity=PerGroup(group), scale_format=FP16)
    q = quantize(jnp.asarray(weight), scheme)
    return _vectors(
        pe,
        np.asarray(q.codes),
        unscaled(q),
        x,
        columns,
        group=group,
        codes_per_beat=pe.lanes,
        unit=1.0,
        scales=of_groups(q.scales, len(weight)),
    )


def _vectors(
    pe: ProcessingElement,
    codes: np.ndarray,
    values: np.ndarray,
    x: np.ndarray,
    columns: int,
    *,
    group: int,
    codes_per_beat: int,
    unit: float,
    scales: np.ndarray,
    books: np.ndarray | None = None,
) -> Layer:
    """Return a layer of rows of codes, shape (outputs, codes), with values, (outputs, inputs)."""
    activations, token_scales = int8_tokens(x)
    rows, per_group = np.asarray(activations.codes), group // pe.lanes * codes_per_beat

    def operands(outputs: np.ndarray, tokens: np.ndarray, index: int) -> Operands:
        of_codes = slice(index * per_group, (index + 1) * per_group)
        found = {
            "codes": side_by_side(codes[:, of_codes][outputs], codes_per_beat),
            "activations": in_beats(rows[tokens, index * group : (index + 1) * group], pe.lanes),
        }
        nothing = np.zeros((*found["activations"].shape[:2], 1), np.uint8)
        return found | {
            name: nothing for name in ("load", "left_out") if name in pe.operand_layout.members
        }

    return Layer(
        pe=tile_of(pe, columns),
        outputs=len(codes),
        inputs=x.shape[1],
        group=group,
        columns=columns,
        operands=operands,
        values=lambda sums: sums.astype(np.float32) * np.float32(unit),
        scales=scales,
        token_scales=token_scales,
        expected=exact_product(
            unscaled(activations), values, group=group, scales=scales, token_scales=token_scales
        ),
        prologue=None
        if books is None
        else (lambda beats: loads(pe, books, beats, columns=columns)),
    )


def loads(pe: ProcessingElement, numbers: np.ndarray, beats: int, *, columns: int) -> Operands:
    """Return groups of some beats that load codebooks, shape (books, entries, size), in all PEs.

    A beat loads one book's entry; what is left of the last group loads the last one again.
    """
    assert isinstance(pe, AdditivePe)
    books, entries, size = numbers.shape
    count = -(-books * entries // beats) * beats
    book, entry = np.divmod(np.minimum(np.arange(count), books * entries - 1), entries)
    activations = np.zeros((count, pe.inputs), np.int64)
    activations[:, :size] = numbers[book, entry]
    codes = np.repeat(entry[:, None], columns * pe.vectors * pe.books, axis=1)
    shape = count // beats, beats, -1
    return {
        "codes": codes.reshape(shape),
        "activations": (activations & 255).astype(np.uint8).reshape(shape),
        "load": (1 << book).reshape(shape),
    }
