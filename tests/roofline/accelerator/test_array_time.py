"""Cycles on arrays of others: chipleap's own, tiles of Gemmini's library, and bounds."""

import random
from dataclasses import replace

import pytest

from hw.array_machine import find_array_machine, list_array_machines, load_array_machine
from roofline.accelerator.array_plans import lanes_tile, square_tile, squares
from roofline.accelerator.array_product import ArrayProduct, rows_cycles
from roofline.accelerator.array_time import array_time

#: Cycles by ``simulate_job`` of chipleap 0.3.0, equal to its circuit in a memory without stalls:
#: lanes, width, ports, KiB of inputs and of weights, slots; m, k, n, bits; weights on the chip and
#: in external memory (latency 24).
CHIPLEAP = [
    ((4, 8, 2, 8, 4, 2), (1, 64, 16, 8), (191, 283)),
    ((4, 8, 2, 8, 4, 2), (1, 576, 576, 8), (47907, 51219)),
    ((4, 8, 2, 8, 4, 2), (1, 576, 576, 4), (21907, 25219)),
    ((4, 8, 2, 8, 4, 2), (4, 300, 37, 4), (1999, 2022)),
    ((4, 8, 2, 8, 4, 2), (9, 1536, 20, 8), (16979, 17646)),
    ((4, 8, 2, 8, 4, 2), (17, 96, 33, 2), (2917, 3113)),
    ((4, 8, 1, 2, 1, 2), (1, 576, 576, 8), (88155, 104715)),
    ((4, 8, 1, 2, 1, 2), (4, 300, 37, 4), (2941, 3161)),
    ((4, 8, 1, 2, 1, 2), (9, 1536, 20, 8), (34110, 36870)),
    ((8, 8, 2, 8, 4, 1), (1, 576, 576, 4), (27726, 29382)),
    ((8, 8, 2, 8, 4, 1), (9, 1536, 20, 8), (18559, 18973)),
    ((8, 8, 2, 8, 4, 1), (17, 96, 33, 2), (2338, 2683)),
    ((4, 8, 2, 1, 1, 2), (1, 576, 576, 8), (46611, 63171)),
    ((4, 8, 2, 1, 1, 2), (4, 300, 37, 4), (2840, 3318)),
    ((4, 8, 2, 1, 1, 2), (9, 1536, 20, 8), (19275, 24772)),
]


def chipleap(design, bits, latency):
    lanes, width, ports, inputs, weights, slots = design
    return replace(
        load_array_machine("chipleap-gemv"),
        rows=lanes,
        lanes=width,
        read_bytes_per_cycle=4 * ports,
        input_buffer_bytes=inputs * 1024,
        weight_buffer_bytes=weights * 1024,
        load_slots=slots,
        weight_bits=bits,
        latency_cycles=latency,
    )


@pytest.mark.parametrize("design, job, cycles", CHIPLEAP)
def test_cycles_of_chipleaps_gemv_core_are_reproduced(design, job, cycles):
    m, k, n, bits = job
    product = ArrayProduct(m=m, k=k, n=n)
    found = [array_time(chipleap(design, bits, latency), product).cycles for latency in (1, 24)]
    assert found == list(cycles)


def test_a_tile_that_no_buffer_holds_is_refused():
    machine = replace(load_array_machine("chipleap-gemv"), weight_buffer_bytes=32)
    with pytest.raises(ValueError, match=r"^chipleap-gemv: the buffers hold no tile of 4 x 8$"):
        lanes_tile(machine, ArrayProduct(m=1, k=64, n=4))


@pytest.mark.parametrize(
    "sizes, tile",
    [
        # dse.auto_tiling of DOSA's table: rows, depth and columns of tiles by Gemmini's library.
        ((128, 768, 768), (80, 768, 80)),
        ((128, 3072, 768), (80, 816, 80)),
        ((128, 64, 128), (80, 64, 96)),
        ((128, 128, 64), (128, 128, 64)),
        ((1, 2048, 1000), (16, 896, 128)),
    ],
)
def test_tiles_are_those_of_gemminis_library(sizes, tile):
    m, k, n = sizes
    assert square_tile(load_array_machine("gemmini"), ArrayProduct(m=m, k=k, n=n)) == tile


def test_operands_that_two_tiles_hold_are_loaded_once():
    # Tiles of 80 x 96 outputs. Lines of 64 bytes take 8 cycles: 80 rows of inputs and 64 rows of
    # two lines of weights; 64 of one line; 48 rows of inputs; nothing.
    machine, product = load_array_machine("gemmini"), ArrayProduct(m=128, k=64, n=128)
    tiles = list(squares(machine, product))
    assert [tile.load for tile in tiles] == [640 + 1024, 512, 384, 0]
    # Blocks of 16 x 16 weights stream 16 rows.
    assert [tile.compute for tile in tiles] == [5 * 6 * 4 * 16, 5 * 2 * 64, 3 * 6 * 64, 3 * 2 * 64]
    # 80 columns that begin 16 bytes after a line take three lines of segments a row; inputs stay.
    wide = list(squares(machine, ArrayProduct(m=128, k=768, n=3072)))
    assert [tile.load for tile in wide[:2]] == [80 * 12 * 8 + 768 * 2 * 8, 768 * 3 * 8]


def test_what_was_loaded_before_comes_from_a_cache_that_holds_it():
    # Three tiles along m load weights of 1.5 MB each: from DRAM, or from a cache of 4 MiB.
    gemmini, product = load_array_machine("gemmini"), ArrayProduct(m=240, k=1536, n=1024)
    large = replace(gemmini, cache_bytes=4 << 20)
    loads = [[tile.load for tile in squares(one, product)] for one in (gemmini, large)]
    first = len(loads[0]) // 3
    assert sum(loads[1][first:]) < sum(loads[0][first:]) / 1.8


def test_rows_that_cross_lines_take_every_line():
    machine = load_array_machine("gemmini")
    rng = random.Random(1)
    for _ in range(50):
        rows, size = rng.randrange(1, 150), rng.randrange(1, 300)
        stride, offset = rng.randrange(size, 500), rng.randrange(64)
        lines = sum(
            len({(offset + r * stride + at) // 64 for at in range(s, min(s + 64, size))})
            for r in range(rows)
            for s in range(0, size, 64)
        )
        found = rows_cycles(
            machine, rows=rows, row_bytes=size, stride=stride, offset=offset, cached=False
        )
        assert found == lines * 8


@pytest.mark.parametrize("name", list_array_machines())
def test_no_product_is_faster_than_its_bound(name):
    machine = load_array_machine(name)
    for m, k, n in ((1, 8, 8), (1, 576, 576), (5, 100, 1000), (128, 768, 768), (40, 64, 3)):
        found = array_time(machine, ArrayProduct(m=m, k=k, n=n))
        assert found.cycles >= found.bound_cycles > 0, (m, k, n)
        assert found.bound_cycles >= m * k * n / machine.macs_per_cycle * (1 - 1e-9)


def test_a_machine_is_found_by_its_words_and_size():
    assert find_array_machine("Gemmini (Chipyard), 32x32 INT8").rows == 32
    assert find_array_machine("PYNQ-Z1, M4, 16x16").name == "torch2riscv-d16"
    assert find_array_machine("NVDLA nv_small").name == "nvdla-small"
    with pytest.raises(ValueError, match="unknown accelerator 'abacus'"):
        find_array_machine("abacus")
