"""The text form of methods: what it accepts, and what it says of the rest."""

import numpy as np
import pytest

from numerics import parse_scheme, quantize
from sim.calibration.statistics import Statistics
from sim.methods.chain import NEAREST, Chain, chain_text, parse_chain
from sim.methods.solvers import Clip, Gptq, Rtn
from sim.methods.tables import method_table


@pytest.mark.parametrize(
    ("text", "method", "canonical"),
    [
        ("rtn", Rtn(), "rtn"),
        (" GPTQ ", Gptq(), "gptq"),
        ("gptq()", Gptq(), "gptq"),
        ("gptq(order=natural, clip=false)", Gptq(order="natural", clip=False), None),
        ("gptq(damping=0.01)", Gptq(), "gptq"),
        ("gptq(damping=0.5)", Gptq(damping=0.5), "gptq(damping=0.5)"),
        ("clip(weight=none)", Clip(weight="none"), "clip(weight=none)"),
    ],
)
def test_texts_and_methods_name_each_other(text, method, canonical):
    chain = Chain(solver=method)
    assert parse_chain(text) == chain
    assert parse_chain(chain_text(chain)) == chain
    assert canonical is None or chain_text(chain) == canonical


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gptqq", "unknown method 'gptqq'; did you mean 'gptq'?"),
        ("gptq(strength=0.5)", "write gptq(target=model,strength=0.5)"),
        ("lwc(rate=inf)", "option rate of lwc is inf; it must be a number above 0"),
        ("spinquant(rate=inf)", "option rate of spinquant is inf; it must be a number above 0"),
        ("awq(candidates=1000000)", "candidates of awq is 1000000; it can be 1 to 1000"),
        ("gptq(ordr=natural)", "unknown option of gptq 'ordr'; did you mean 'order'?"),
        ("gptq(size=2)", "unknown option of gptq 'size'; `qsim methods show gptq` lists all"),
        ("rtn(order=natural)", "rtn has no options; 'order' is given"),
        ("gptq(order)", "option 'order' of gptq has no value; write order=VALUE"),
        ("gptq(order=best)", "option order of gptq is 'best'; it can be natural or activation or"),
        ("gptq(damping=much)", "option damping of gptq is 'much', not a number"),
        ("gptq(damping=nan)", "damping is nan; it must lie in 0..1"),
        ("gptq(strength=2)", "strength is 2; it must lie above 0 and up to 1"),
        ("gptq(damping=2)", "damping is 2; it must lie in 0..1"),
        ("gptq(clip=1,clip=0)", "option clip of gptq is '1'; it can be true or false"),
        ("gptq(clip=true,clip=true)", "option clip of gptq is given twice"),
        ("gptq+clip", "has the solvers gptq and clip; a chain has one, such as gptq"),
        ("gptq+gptq", "has gptq twice; give it once"),
        ("gptq++rtn", "method step '' is not of the form NAME or NAME"),
        ("gptq(", "not of the form NAME or NAME"),
        ("", "not of the form NAME or NAME"),
    ],
)
def test_what_a_method_cannot_be_is_said_in_one_line(text, message):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        parse_chain(text)
    assert message in str(caught.value)


def test_a_format_in_an_option_may_have_brackets():
    text = "gptq(order=natural)+lorc(rank=2,format=table(-1,-0.5,0,0.5,1):channel,weighted=false)"
    chain = parse_chain(text)
    assert chain.repair.format == "table(-1,-0.5,0,0.5,1):channel" and chain.repair.rank == 2
    assert parse_chain(chain_text(chain)) == chain
    assert chain.repair.formats[1].bits_per_weight((4, 64), kind="index") == 3
    with pytest.raises(ValueError, match=r"^method step 'lorc\(format=table\(-1,1\)' is not of"):
        parse_chain("lorc(format=table(-1,1)")


def test_rounding_to_nearest_is_the_chain_without_a_step():
    assert parse_chain("rtn") == NEAREST and not NEAREST.is_calibrated
    assert parse_chain("gptq").is_calibrated


def test_the_model_target_makes_up_for_the_error_of_earlier_blocks():
    random = np.random.default_rng(0)
    weight = random.normal(size=(16, 32)).astype(np.float32)
    inputs = random.normal(size=(256, 32)).astype(np.float32)
    rounded = (inputs + 0.3 * random.normal(size=inputs.shape)).astype(np.float32)
    statistics = Statistics.empty(32, with_shift=True)
    statistics.add(rounded, reference=inputs)
    scheme = parse_scheme("int4:g16")

    def error(text):
        solver = parse_chain(text).solver
        quantized = solver.solve(weight, scheme, statistics).dequantize()
        return float(np.square(rounded @ np.asarray(quantized).T - inputs @ weight.T).sum())

    assert parse_chain("gptq(target=model)").solver.needs_shift
    full, part, none = (
        error(t) for t in ("gptq(target=model,strength=1)", "gptq(target=model)", "gptq")
    )
    assert full < 0.9 * none and full < part < none


@pytest.mark.parametrize(
    "name,words",
    [
        ("rotate", "r3 of q and k, r4 of the inputs of down, heads of the inputs of o"),
        ("lorc", "rank * (in + out) more weights a matrix"),
        ("gptq", "nothing more than the quantized matrices"),
    ],
)
def test_a_shown_step_says_what_it_costs_at_run_time(name, words):
    (line,) = (x for x in method_table(name).renderables if str(x).startswith("at run time: "))
    assert words in line


def test_a_matrix_whose_inputs_are_all_zero_is_rounded_to_nearest():
    weight, scheme = np.random.default_rng(0).normal(size=(4, 32)).astype(np.float32), "int4:g32"
    found = Gptq().solve(weight, parse_scheme(scheme), Statistics.empty(32))
    expected = quantize(weight, parse_scheme(scheme))
    assert (np.asarray(found.dequantize()) == np.asarray(expected.dequantize())).all()
