"""Tiles: every PE's result is that of its own weights, and all keep in step."""

import dataclasses

import numpy as np
import pytest
from amaranth.hdl import Value

import rtl.layer.tile
from rtl.catalog import find_pe
from rtl.layer.tile import TilePe
from rtl.verification.compiled import CompiledPe
from rtl.verilog.emit import verilog_text


def tile_of(name, columns):
    pe = find_pe(name)
    return TilePe(
        name=f"{name}-tile", source=pe.source, lanes=pe.lanes * columns, pe=pe, columns=columns
    )


TILE = tile_of("dint3-mac", 3)


def test_golden_results_are_those_of_each_pe():
    operands = TILE.random(50, seed=2)
    found = TILE.golden(operands)
    assert found.shape == (50, 3)
    for column in range(3):
        own = operands["weights"][:, :, column : column + 1]
        assert np.array_equal(found[:, column], TILE.pe.golden({**operands, "weights": own}))
    assert len({tuple(column) for column in found.T}) == 3
    assert tile_of("dint3-mac", 1).golden(tile_of("dint3-mac", 1).random(5, seed=0)).shape == (5,)


def test_compiled_tiles_give_the_golden_results():
    assert TILE.result_shape.width > 32 and TILE.number_shape.signed
    stalls = {"offers": np.array([1, 0, 1, 1, 0]), "takes": np.array([0, 0, 0, 1, 1])}
    with CompiledPe(TILE) as model:
        for operands in (TILE.random(2000, seed=1), TILE.corners()):
            expected = TILE.golden(operands)
            assert np.array_equal(model.run(operands)[0], expected)
            assert np.array_equal(model.run(operands, **stalls)[0], expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["mixpe-w4a16", "bitmod-fp4-aligned", "bitmod-fp3", "fp16-mac", "mxfp4-dot", "e8p-dot",
     "aqlm-2x4", "nested-planes", "bitmod-fp4-special", "bitmod-fp4-column"],
)  # fmt: skip
def test_compiled_tiles_of_all_kinds_give_the_golden_results(name):
    tile = tile_of(name, 2)
    operands = tile.random(2000, seed=1)
    with CompiledPe(tile) as model:
        assert np.array_equal(model.run(operands)[0], tile.golden(operands))


def test_weights_of_another_pe_are_noticed(monkeypatch):
    original = Value.word_select
    monkeypatch.setattr(
        rtl.layer.tile.Value, "word_select", lambda self, i, width: original(self, 2 - i, width)
    )
    operands = TILE.random(200, seed=1)
    with CompiledPe(TILE) as model:
        found, _ = model.run(operands)
    assert not np.array_equal(found, TILE.golden(operands))


def test_a_tile_needs_pes_with_activations():
    with pytest.raises(ValueError, match=r"^bitmod-dequantizer has no activations that the PEs"):
        verilog_text(tile_of("bitmod-dequantizer", 2))
    with pytest.raises(ValueError, match=r"^a tile of 0 PEs; give at least 1$"):
        verilog_text(dataclasses.replace(TILE, columns=0))
