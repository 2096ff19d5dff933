"""LoRC: the error that it leaves, its bits, and what a packed checkpoint keeps of it."""

import jax.numpy as jnp
import numpy as np
import pytest

from numerics import parse_scheme, quantize
from numerics.solvers.hessian import output_error
from sim.calibration.statistics import Statistics
from sim.errors import UserError
from sim.methods.chain import parse_chain
from sim.methods.repairs import Lorc
from sim.quantized.writer import write_model
from sim.sources.catalog import open_model
from sim.sweep.recipe import plan
from sim.sweep.recipe_file import make_recipe
from sim.sweep.weights import bits_per_weight

SCHEME = parse_scheme("int3:g16")


@pytest.fixture(scope="module")
def case():
    random = np.random.default_rng(0)
    weight = random.normal(size=(24, 32)).astype(np.float32)
    statistics = Statistics.empty(32)
    statistics.add((random.normal(size=(64, 32)) * np.geomspace(1, 30, 32)).astype(np.float32))
    return weight, quantize(jnp.asarray(weight), SCHEME), statistics


def outputs(weight, matrix, statistics):
    return output_error(np.asarray(matrix.dequantize()) - weight, statistics.hessian)


def test_a_repair_takes_away_error_and_the_weighted_one_more(case):
    weight, codes, statistics = case
    plain = Lorc(rank=4, weighted=False).repair(weight, codes, None)
    weighted = Lorc(rank=4).repair(weight, codes, statistics)
    before, after, best = (outputs(weight, m, statistics) for m in (codes, plain, weighted))
    assert best < 0.7 * after < 0.7 * before


def test_a_full_rank_in_fine_steps_removes_the_error(case):
    weight, codes, statistics = case
    repaired = Lorc(rank=24, format="int8:g4:fp32").repair(weight, codes, statistics)
    left = np.abs(repaired.dequantize() - weight).max()
    assert left < 0.05 * np.abs(np.asarray(codes.dequantize()) - weight).max()


def test_the_bits_are_those_of_both_factors():
    # Rank 2 of 24 x 32: 2 * 56 values of 8 bits, and four scales of 16.
    assert Lorc(rank=2).extra_bits((24, 32)) == 8 * 2 * 56 + 4 * 16


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lorc(rank=0)", "rank of lorc is 0; it must be 1 or more"),
        ("lorc(format=fp5)", "unknown format 'fp5'"),
        ("lorc+gptq", "gptq is a solver and comes before lorc, a repair; write gptq\\+lorc"),
    ],
)
def test_a_repair_that_cannot_be_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_chain(text)


def test_a_rank_above_the_matrix_is_refused(tiny_model):
    config = open_model(str(tiny_model)).config
    with pytest.raises(UserError, match=r"lorc\(rank=999\) on a matrix of .* can be 1 to"):
        plan(make_recipe("int4:g32", method="lorc(rank=999)"), config)


def test_a_packed_checkpoint_keeps_the_factors(tiny_model, tmp_path):
    source = open_model(str(tiny_model))
    recipe = make_recipe("int3:g32", method="lorc(rank=2,weighted=false)")
    read = open_model(str(write_model(source, recipe, tmp_path / "model")))
    name = "layers.1.mlp.down_proj.weight"
    weight = source.read(name)
    codes = quantize(jnp.asarray(weight), parse_scheme("int3:g32"))
    chain = parse_chain("lorc(rank=2,weighted=false)")
    expected = chain.repair.repair(weight, codes, None).dequantize()
    assert (read.read(name) == expected).all()
    assert (expected != np.asarray(codes.dequantize())).any()
    plain = plan(make_recipe("int3:g32"), source.config)
    assert bits_per_weight(plan(recipe, source.config)) > bits_per_weight(plain)
