"""Speed of the search: whole-model designs a second on one core, with area, energy and the front.

Run with ``pytest tests/benchmarks/test_codesign.py -o addopts= --import-mode=importlib``.
"""

import time

import numpy as np

from roofline.model.model_shape import load_model
from sim.codesign.accuracy import find_accuracy
from sim.codesign.grid import Grid, Memory
from sim.codesign.pairs import elements, join
from sim.codesign.search import Limits, make_space, search

LEAST_PER_S = 2e6


def test_two_million_whole_model_designs_a_second_on_one_core(benchmark):
    shape = load_model("smollm2-135m")
    grid = Grid(
        rows=tuple(range(1, 65)),
        columns=(1,),
        memories=tuple(Memory(kind="lpddr4", gb_per_s=float(x)) for x in np.geomspace(1, 30, 40)),
        clocks_mhz=tuple(float(x) for x in range(50, 1050, 25)),
    )
    pairs = join(find_accuracy("embedded").rows, elements())[:20]
    space = make_space(shape, pairs, grid, context=512)
    assert space.size >= 1_000_000
    limits = Limits(tokens_per_s=20.0, area=2.0)
    started = time.process_time()
    found = benchmark.pedantic(search, args=(space, limits), rounds=1)
    # CPU time of one thread: other processes do not count.
    rate = space.size / (time.process_time() - started)
    benchmark.extra_info["designs_per_cpu_s"] = rate
    assert len(found.front.numbers) > 10
    assert rate > LEAST_PER_S
