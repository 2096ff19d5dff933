"""BitMoD's published figures, cycle for cycle."""

import pytest

from hw.accelerator import load_accelerator
from roofline.accelerator.published_bitmod import (
    DESIGNS,
    GENERATED_TOKENS,
    MODELS,
    published_cost,
    published_speedup,
)

#: Data behind figure 7 of arXiv:2411.11745, from the notebook in the authors' repository.
CYCLES = """
                      opt-1.3b   phi-2       llama-2-7b  llama-3-8b
fp16       prefill    669255680  1399816192  3156574208  3969089536
bitmod-ll  prefill    336236544  693780480   1649680384  1901133824
ant        prefill    440975360  847773696   1949564928  2266234880
olive      prefill    403718144  779268096   1768062976  2008645632
bitmod-ly  prefill    233070592  515194880   1202921472  1273233408
fp16       token      82153718   165841248   413518608   469624976
bitmod-ll  token      31220054   62986912    156919888   178109840
ant        token      25779238   51998112    129497936   132370576
olive      token      20018374   41655712    97236816    105031744
bitmod-ly  token      15857750   31959712    79493200    90099088
"""
NAMES, *ROWS = CYCLES.strip().splitlines()
#: Microjoules on Llama-2-7B from the simulator's own constants: PEs and DRAM.
ENERGY_UJ = """
fp16       prefill  2353196.9  12582538.4
bitmod-ll  prefill  1249585.8  5776308.6
bitmod-ly  token    44515.8    381567.4
"""


@pytest.mark.parametrize("row", ROWS)
def test_cycles_equal_the_published_ones(row):
    design, task, *expected = row.split()
    cycles = [published_cost(design, model, task).cycles for model in NAMES.split()]
    assert cycles == list(map(int, expected))


def test_speedups_of_all_models_and_their_means_equal_the_published_ones():
    def prefill(design):
        return [published_speedup(design, model) for model in MODELS]

    def mean(design, generated):
        ratios = [published_speedup(design, model, generated=generated) for model in MODELS]
        return round(sum(ratios) / len(ratios), 3)

    assert [round(x, 3) for x in prefill("bitmod-ll")] == [1.990, 2.018, 2.036, 1.913, 1.887, 2.088]
    assert [round(x, 3) for x in prefill("bitmod-ly")] == [2.871, 2.717, 3.040, 2.624, 2.566, 3.117]
    assert [mean(x, 0) for x in ("bitmod-ll", "ant", "olive")] == [1.989, 1.639, 1.812]
    assert [mean(x, GENERATED_TOKENS) for x in ("bitmod-ll", "ant", "olive", "bitmod-ly")] == [
        2.408,
        2.518,
        3.014,
        4.176,
    ]


@pytest.mark.parametrize("row", ENERGY_UJ.strip().splitlines())
def test_energy_of_pes_and_dram_equals_the_published_one(row):
    design, task, pes, dram = row.split()
    cost = published_cost(design, "llama-2-7b", task)
    assert round(cost.pe_energy_pj / 1e6, 1) == float(pes)
    assert round(cost.dram_energy_pj / 1e6, 1) == float(dram)


def test_the_same_area_gives_the_published_gains_over_ant_and_olive():
    """Section V-C: arrays of one area, except ANT's, whose decoders would have to fill the gap."""
    machines = {"fp16": "fp16-28nm", "bitmod-ly": "bitmod", "ant": "ant", "olive": "olive"}
    areas = {name: load_accelerator(machine).array_area_mm2 for name, machine in machines.items()}
    assert {name: round(area, 3) for name, area in areas.items()} == {
        "fp16": 1.512,
        "bitmod-ly": 1.544,
        "ant": 1.350,
        "olive": 1.519,
    }
    for name, machine in machines.items():
        built = load_accelerator(machine)
        assert DESIGNS[name].prefill_array[0] * DESIGNS[name].prefill_array[1] == (
            built.prefill_rows * built.prefill_columns
        )

    def mean(design, generated):
        return sum(published_speedup(design, m, generated=generated) for m in MODELS) / len(MODELS)

    gains = {
        other: [
            round(mean("bitmod-ly", tokens) / mean(other, tokens), 2)
            for tokens in (0, GENERATED_TOKENS)
        ]
        for other in ("ant", "olive")
    }
    assert gains == {"ant": [1.72, 1.66], "olive": [1.56, 1.39]}


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"^unknown model 'opt' of BitMoD's figures; known: opt-1"):
        published_cost("fp16", "opt", "prefill")
    with pytest.raises(ValueError, match=r"^unknown design 'int8' of BitMoD's figures; known: fp1"):
        published_cost("int8", "phi-2", "prefill")
