"""PEs: Verilog, compiled code, simulator and proofs, and mutations that each has to notice."""

import dataclasses
import inspect
import random
import re
import textwrap

import numpy as np
import pytest

import rtl.arithmetic.decoder
import rtl.arithmetic.products
import rtl.verification.proof
from hw.pe_record import load_record
from numerics import FORMATS, SCHEMES
from numerics.pe.exact_dot import integer_table
from rtl.arithmetic.products import AddSkip, BoothShiftAdd, FloatProduct, ShiftAdd
from rtl.beats import pack_beats
from rtl.catalog import PES, find_pe
from rtl.toolchain import ToolError, need_program, run_yosys
from rtl.verification.compiled import CompiledPe
from rtl.verification.proof import prove, refute_wrong
from rtl.verification.simulated import run_bench
from rtl.verification.verify import verify
from rtl.verilog.emit import verilog_text, write_verilog

#: A PE whose compiled model is verified by default.
COMPILED = "fp8xfp4-dot"
#: PEs whose proofs end in seconds; slow ones repeat a quick proof at another size.
PROVED = [
    pytest.param(name, marks=[pytest.mark.slow] * (pe.proof_cost == "seconds"))
    for name, pe in sorted(PES.items())
    if pe.proof_cost != "minutes"
]


def pairs_are_right(pe):
    single, operands = pe.every_input()
    with CompiledPe(single) as model:
        found, _ = model.run(operands)
    return np.array_equal(found, single.golden(operands))


@pytest.fixture(scope="module")
def proofs(tmp_path_factory):
    """A folder, so that what several PEs share is proved once."""
    return tmp_path_factory.mktemp("proofs")


def test_compiled_verilog_gives_every_product_and_sum():
    verdicts = list(verify(find_pe(COMPILED), ["compiled"], dots=50_000))
    assert [v.what for v in verdicts] == [
        "every input of one lane",
        "corners",
        "random, with stalls",
        "random",
    ]
    assert all(v.is_good and v.vectors for v in verdicts)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(PES) - {COMPILED}))
def test_every_pe_in_every_layer(name):
    verdicts = list(verify(find_pe(name), dots=1_000_000))
    assert {v.layer for v in verdicts} == {"compiled", "simulated", "proved"}
    assert [v.detail for v in verdicts] == [""] * len(verdicts)


@pytest.mark.parametrize("name", PROVED)
def test_products_are_proved_and_a_wrong_one_is_refuted(name, proofs):
    for obligation in find_pe(name).obligations():
        assert prove(obligation, memory=proofs).is_equal
        assert not refute_wrong(obligation, memory=proofs).is_equal


def test_the_simulator_runs_the_file_that_users_get(tmp_path):
    pe = find_pe("mixpe-w4a8")
    path = write_verilog(pe, tmp_path)
    operands = pe.random(200, seed=0)
    run = run_bench(pe, operands, verilog=path.read_text())
    assert (run.tests, run.failed, run.vectors) == (4, 0, 200)
    # Registers at the wrong clock edge.
    text = path.read_text()
    assert path.name == "mixpe_w4a8.v" and "module mixpe_w4a8(" in text
    wrong = text.replace("posedge clk", "negedge clk")
    assert wrong != text
    path.write_text(wrong)
    assert run_bench(pe, operands, verilog=path.read_text()).failed > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "name,old,new",
    [
        ("mixpe-w4a8", r"assign (operands__ready) = .*;", r"assign \1 = 1'h1;"),
        ("mixpe-w4a8", r"assign (operands__ready) = .*;", r"assign \1 = 1'h0;"),
    ],
)
def test_a_broken_protocol_fails_and_ends(tmp_path, name, old, new):
    pe = find_pe(name)
    path = write_verilog(pe, tmp_path)
    text, count = re.subn(old, new, path.read_text())
    assert count == 1
    path.write_text(text)
    run = run_bench(pe, pe.random(200, seed=0), verilog=path.read_text())
    # Also the test of results, which has to end though some never come.
    assert run.tests == 4 and run.failed >= 2 and run.time_s < 300


def test_a_simulator_that_runs_nothing_fails(tmp_path):
    pe = find_pe("mixpe-w4a8")
    path = tmp_path / "broken.v"
    path.write_text("module mixpe_w4a8(input clk; endmodule\n")
    with pytest.raises(ToolError, match=r"ran no test: %Error: pe.v:1.* syntax error"):
        run_bench(pe, pe.random(2, seed=0), verilog=path.read_text())


def test_a_simulator_that_is_missing_is_told(monkeypatch):
    monkeypatch.setenv("PATH", "")
    pe = find_pe("mixpe-w4a8")
    with pytest.raises(ToolError, match="no iverilog on this machine; icarus needs it"):
        run_bench(pe, pe.random(2, seed=0), simulator="icarus", verilog="")


TABLES = {
    obligation.what: obligation
    for pe in PES.values()
    for obligation in pe.obligations()
    if obligation.what.startswith("decoder of ")
}


@pytest.mark.parametrize("what", sorted(TABLES))
def test_a_flipped_bit_of_a_decoder_is_refuted(monkeypatch, what):
    tried = TABLES[what].circuit()._format
    right, pick = integer_table(tried), random.Random(what)
    code, place = pick.randrange(len(right)), pick.randrange(2)
    wrong = tuple(v ^ (i == code) << place for i, v in enumerate(right))
    assert prove(TABLES[what]).is_equal
    monkeypatch.setattr(
        rtl.arithmetic.decoder,
        "integer_table",
        lambda fmt: wrong if fmt == tried else integer_table(fmt),
    )
    assert not prove(TABLES[what]).is_equal


def test_decoders_of_all_kinds_are_proved():
    names = {what.split()[2] for what in TABLES}
    assert names == {
        "binary",
        "bitmod-fp3",
        "bitmod-fp4",
        "dint3",
        "dint4",
        "fp4_e2m1",
        "fp8_e4m3",
        "i2_s",
        "nf4_int8",
        "uint4",
    }


def test_a_flipped_bit_of_a_decoder_is_noticed_in_compiled_code(monkeypatch):
    pe = find_pe("dint3-mac")
    right = integer_table(pe.weights)
    wrong = tuple(v ^ (i == len(right) - 1) for i, v in enumerate(right))
    monkeypatch.setattr(
        rtl.arithmetic.decoder,
        "integer_table",
        lambda fmt: wrong if fmt == pe.weights else integer_table(fmt),
    )
    assert not pairs_are_right(pe)
    monkeypatch.undo()
    assert pairs_are_right(pe)


def mutated(circuit, old, new):
    """Return a circuit whose text differs in one place."""
    text = textwrap.dedent(inspect.getsource(circuit))
    assert text.count(old) == 1
    names = dict(vars(rtl.arithmetic.products))
    exec(text.replace(old, new), names)
    return names[circuit.__name__]


@pytest.mark.parametrize(
    "name,circuit,old,new",
    [
        (
            "booth-w4a8",
            BoothShiftAdd,
            "extended[2 * i + 1], -size",
            "extended[2 * i + 1] & (i < digits - 1), -size",
        ),
        ("mixpe-w4a8", ShiftAdd, "total - negative", "total + negative"),
        ("mixpe-w4a8", ShiftAdd, "len(weight) - 1)]", "len(weight) - 2)]"),
        ("fp4-dot", FloatProduct, "sign_w ^ sign_a", "sign_w | sign_a"),
        ("fp8-dot", FloatProduct, "shift_w + shift_a", "shift_w | shift_a"),
        ("ternary-16", AddSkip, "-1: -activation", "-1: ~activation"),
    ],
)
def test_one_wrong_place_in_a_circuit_is_refuted(name, circuit, old, new):
    pe = dataclasses.replace(find_pe(name), product=mutated(circuit, old, new))
    obligation, *_ = pe.obligations()
    assert not prove(obligation).is_equal


@pytest.mark.slow
def test_no_verilog_says_where_it_was_made():
    assert not any("src =" in verilog_text(PES[name]) for name in ("aqlm-2x4", "int8-mac"))


def test_results_wait_and_nothing_is_lost():
    pe = find_pe("dint3-mac")
    operands = pe.random(500, seed=2)
    with CompiledPe(pe) as model:
        free, cycles = model.run(operands)
        slow, waited = model.run(operands, takes=np.array([0] * 9 + [1]))
        # A beat a cycle and one more for the last result.
        assert np.array_equal(free, slow) and cycles == 500 * 3 + 1 and waited > 9 * 500
        with pytest.raises(ValueError, match="the same length and at least one 1"):
            model.run(operands, takes=np.zeros(3))


def test_beats_are_packed_from_the_lowest_bit():
    pe = find_pe("ternary-16")
    operands = pe.random(3, seed=0)
    words = pack_beats(pe.operand_layout, operands)
    assert words.shape == (3 * 8, 6)
    number = int.from_bytes(words[15].tobytes(), "little")
    for i in range(16):
        weight, activation = (operands[name][1, 7, i] for name in ("weights", "activations"))
        assert (number >> 2 * i) & 3 == weight and (number >> (32 + 8 * i)) & 255 == activation
    assert number >> 160 == 1
    with pytest.raises(ValueError, match="not a multiple of"):
        pe.beats(np.zeros((3, 20)), np.zeros((3, 20)))
    with pytest.raises(ValueError, match="fields weights, activations"):
        pack_beats(pe.operand_layout, {"weights": operands["weights"]})
    with pytest.raises(ValueError, match="weights has shape"):
        pack_beats(pe.operand_layout, {**operands, "weights": operands["weights"][:, :, :3]})


def test_a_serial_pe_takes_two_cycles_a_beat():
    pe = dataclasses.replace(find_pe("bitmod-fp4"), activations=FORMATS["int8"], lanes=2)
    operands = pe.random(3000, seed=2)
    with CompiledPe(pe) as model:
        found, cycles = model.run(operands)
    assert np.array_equal(found, pe.golden(operands))
    assert cycles == 2 * 3 * 3000 + 1
    small = dataclasses.replace(pe, product=pe.serial.summed)
    obligation, *_ = small.obligations()
    assert prove(obligation).is_equal and not refute_wrong(obligation).is_equal


#: MACs per cycle: one per lane, or the lanes over the terms of a weight.
MACS_PER_CYCLE = {
    "mixpe-w4a8": 1,
    "mixpe-w4a16": 1,
    "mixpe-w4a16-running": 1,
    "mixpe-w4a8-zero": 8,
    "mixpe-w4a8-fp16": 16,
    "bitmod-fp4": 2,
    "bitmod-fp3": 2,
    "bitmod-fp4-aligned": 2,
    "bitmod-int4-aligned": 2,
    "bitmod-int6-aligned": 4 / 3,
    "bitmod-int8-aligned": 1,
    "bitmod-fp4-column": 2,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PES))
def test_cycles_are_what_is_stated(name):
    pe = find_pe(name)
    operands = pe.random(50, seed=1)
    if "left_out" in operands:
        operands["left_out"] = np.zeros_like(operands["left_out"])
    beats = 50 * operands[next(iter(operands))].shape[1]
    with CompiledPe(pe) as model:
        _, cycles = model.run(operands)
    # Groups follow each other without a gap; only the last result is waited for.
    assert cycles == beats * pe.cycles + pe.latency
    assert pe.lanes / pe.cycles == MACS_PER_CYCLE.get(name, pe.lanes / pe.cycles)
    assert load_record(name).macs_per_cycle == pe.lanes / pe.cycles


def test_more_terms_than_cycles_are_refused():
    pe = find_pe("bitmod-fp4")
    with pytest.raises(ValueError, match="int4 has values of 3 terms, more than 2 cycles"):
        verilog_text(dataclasses.replace(pe, weights=FORMATS["int4"]))


def test_a_selector_in_front_of_a_code():
    for name in ("bitmod-fp4", "bitmod-fp3"):
        fmt, candidates = find_pe(name).weights, SCHEMES[name].formats
        for code in range(2**fmt.bits):
            index, rest = divmod(code, 2 ** candidates[0].bits)
            assert fmt.decode(code) == candidates[index].decode(rest)
            assert fmt.decode(fmt.encode(fmt.decode(code))) == fmt.decode(code)


def test_corners_have_the_extremes():
    pe = find_pe("int4x8-mac")
    found = pe.golden(pe.corners())
    assert found.max() == 128 * 8 * 128 and found.min() == -128 * 8 * 127


@pytest.mark.parametrize(
    "changes,words",
    [
        ({"accumulator_bits": 18}, "18 bits is too narrow .* need 19"),
        ({"lanes": 0}, "0 lanes"),
        ({"lanes": 129}, "129 lanes; give 1 to the length, 128"),
        ({"weights": FORMATS["nf4"]}, "not multiples of one unit"),
        ({"weights": FORMATS["int4"], "product": AddSkip}, "int4 has the value 2"),
        ({"product": FloatProduct}, "not a floating-point format"),
    ],
)
def test_what_a_pe_cannot_carry(changes, words):
    pe = dataclasses.replace(find_pe("mixpe-w4a8"), **changes)
    with pytest.raises(ValueError, match=words):
        verilog_text(pe)


WITH_SUMS = sorted(name for name, pe in PES.items() if hasattr(pe, "sum_bits"))


@pytest.mark.parametrize("name", WITH_SUMS)
def test_accumulators_are_exact_wider_or_refused(name):
    pe = find_pe(name)
    assert dataclasses.replace(pe, accumulator_bits=pe.sum_bits + 1).sum_bits == pe.sum_bits + 1
    words = f"{pe.sum_bits - 1} bits is too narrow .* need {pe.sum_bits}"
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(pe, accumulator_bits=pe.sum_bits - 1).build()


def test_every_exact_pe_has_an_accumulator():
    rounding = {name for name in PES if "aligned" in name or "nearest" in name}
    others = {
        "bitmod-fp4-column",
        "bitmod-fp4-special",
        "bitmod-dequantizer",
        "fp16-mac",
        "mixpe-w4a16-running",
    }
    assert set(PES) - set(WITH_SUMS) == rounding | others
    fixed = {name for name, pe in PES.items() if not hasattr(pe, "accumulator_bits")}
    assert fixed == {"bitmod-dequantizer", "fp16-mac"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["e8p-dot", "mixpe-w4a8-zero", "nvfp4-dot", "vptq-2x4"])
def test_wider_sums_in_compiled_code(name):
    pe = find_pe(name)
    wider = dataclasses.replace(pe, accumulator_bits=pe.sum_bits + 3)
    with CompiledPe(wider) as model:
        assert wider.result_shape.width % wider.sum_bits == 0
        for operands in (wider.corners(), wider.random(2000, seed=3)):
            assert np.array_equal(model.run(operands)[0], wider.golden(operands))


@pytest.mark.slow
def test_more_lanes_and_wider_sums():
    pe = dataclasses.replace(find_pe("mixpe-w4a8"), lanes=4, accumulator_bits=24)
    verdicts = list(verify(pe, ["compiled"], dots=20_000))
    assert all(v.is_good for v in verdicts) and pe.build().result.payload.shape().width == 24


def test_unknown_names_and_missing_tools(monkeypatch):
    with pytest.raises(ValueError, match="did you mean 'mixpe-w4a8'"):
        find_pe("mixpe-w4a9")
    with pytest.raises(ToolError, match="no gxx on this machine"):
        need_program("gxx", "gxx")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ToolError, match=r"pyosys is not installed; .*\[rtl\]"):
        run_yosys([], None)


def test_a_yosys_without_end_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("rtl.toolchain.TIMEOUT_S", 0.01)
    with pytest.raises(ToolError, match=r"yosys: not done after 0.01 s"):
        run_yosys([], tmp_path)


def test_yosys_says_what_is_wrong(tmp_path):
    with pytest.raises(ToolError, match=r"yosys: .*nowhere"):
        run_yosys(["read_verilog nowhere.v"], tmp_path)


def test_a_proof_is_remembered_for_the_same_circuits_only(tmp_path):
    obligation, *_ = find_pe("int4x8-mac").obligations()
    first, again = (prove(obligation, memory=tmp_path) for _ in range(2))
    assert first.is_equal and not first.is_remembered
    assert again.is_equal and again.is_remembered
    control = refute_wrong(obligation, memory=tmp_path)
    assert not control.is_equal and not control.is_remembered
    assert not refute_wrong(obligation, memory=tmp_path).is_equal
    other, *_ = find_pe("dint4-mac").obligations()
    assert not prove(other, memory=tmp_path).is_remembered
    for file in tmp_path.iterdir():
        file.write_text("yes")
    assert not prove(obligation, memory=tmp_path).is_remembered
    # A file where the folder should be remembers nothing.
    assert not prove(obligation, memory=file).is_remembered


@pytest.mark.slow
@pytest.mark.parametrize(
    "name,bits",
    [
        ("bitmod-fp4-aligned", 25),
        ("bitmod-fp3-aligned", 9),
        ("bitmod-fp4-nearest", 12),
        ("bitmod-fp4-special", 20),
        ("bitmod-fp4-column", 17),
        ("mixpe-w4a16-running", 24),
    ],
)
def test_accumulators_of_other_widths_round_as_the_model_does(name, bits):
    pe = dataclasses.replace(find_pe(name), accumulator_bits=bits)
    assert pe.result_shape.width == (32 if "column" in name else bits + 5 + ("bitmod" in name))
    with CompiledPe(pe) as model:
        for operands in (pe.random(2000, seed=1), pe.random(500, seed=16), pe.corners()):
            expected = pe.golden(operands)
            assert np.array_equal(model.run(operands)[0], expected)
    changed = find_pe(name).golden(operands) != expected
    assert changed.any()
