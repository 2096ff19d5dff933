"""Layers in the codes of PEs: what results come to, against numerics without a PE."""

import numpy as np
import pytest

import sim.hardware.run_layer
from rtl.catalog import PES, find_pe
from sim.cli import main
from sim.errors import UserError
from sim.hardware.layer_operands import layer_of
from sim.hardware.run_layer import _sums, run_layer

RANDOM = np.random.default_rng(0)
#: 300 inputs are two groups and a short one; 7 outputs are no whole number of columns.
WEIGHT = RANDOM.normal(0.0, 0.02, (7, 300)).astype(np.float32)
X = RANDOM.normal(0.0, 2.0, (3, 300)).astype(np.float32)
QUICK = ["int8-mac", "ternary-16", "mixpe-w4a8-zero", "bitmod-fp4-aligned", "mixpe-w4a16-running"]
#: Their outputs are those of the golden model's sums, with nothing else to compare.
BY_GOLDEN = ["mixpe-w4a16", "bitmod-fp3", "mixpe-w4a16-running"]
MORE = ["fp8xfp4-dot", "bitmod-fp3-aligned", "bitmod-fp4-nearest", "bitmod-int5-aligned",
        "mixpe-w4a16", "bitmod-fp3"]  # fmt: skip


class Golden:
    """In the place of compiled code."""

    def __init__(self, pe):
        self.pe = pe

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def run(self, operands):
        return self.pe.golden(operands), 1


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch, request):
    if "compiled" not in request.node.name:
        monkeypatch.setattr(sim.hardware.run_layer, "CompiledPe", Golden)


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in MORE)])
def test_golden_sums_come_to_what_numerics_computes(name):
    layer = layer_of(find_pe(name), WEIGHT, X)
    sums, _, _ = _sums(layer)
    assert sums.shape == (3, 3, 7)
    found, wanted = layer.outputs(sums), X @ WEIGHT.T
    share = {"ternary-16": 0.7, "bitmod-fp3-aligned": 0.4, "bitmod-fp3": 0.4}.get(name, 0.25)
    assert np.linalg.norm(found - wanted) < share * np.linalg.norm(wanted)
    if name not in BY_GOLDEN:
        assert np.array_equal(found.view(np.uint32), layer.expected.view(np.uint32))
        sums[1, 2, 3] += 1
        assert not np.array_equal(layer.outputs(sums), layer.expected)


def test_lanes_of_a_pe_whose_sums_round_are_its_own():
    assert layer_of(find_pe("bitmod-fp4-aligned"), WEIGHT, X).pe.pe.lanes == 4
    assert layer_of(find_pe("mixpe-w4a16"), WEIGHT, X).pe.pe.lanes == 8
    assert layer_of(find_pe("mixpe-w4a8-zero"), WEIGHT, X, lanes=4).pe.lanes == 8


def test_tiles_of_any_size_give_the_same_sums():
    for name in ("int8-mac", "mixpe-w4a8-zero"):
        layers = [layer_of(find_pe(name), WEIGHT, X, tile=size) for size in (1, 2, 3)]
        assert [layer.columns for layer in layers] == [1, 2, 3]
        sums = [_sums(layer)[0] for layer in layers]
        assert np.array_equal(sums[0], sums[1]) and np.array_equal(sums[0], sums[2])
    with pytest.raises(UserError, match="4 columns of 19 bits make results of 76 bits; take at"):
        layer_of(find_pe("mixpe-w4a8-zero"), WEIGHT, X, tile=4)


@pytest.mark.parametrize("name", ["e8p-dot", "bitmod-fp4-column", "binary-16", "vptq-2x4"])
def test_what_no_layer_fits(name):
    with pytest.raises(UserError, match=f"{name} can't run a layer: "):
        layer_of(PES[name], WEIGHT, X)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*QUICK[1:], *MORE])
def test_a_real_layer_through_compiled_code(name):
    run = run_layer("embedded", "layers.1.self_attn.o_proj", find_pe(name), tokens=2)
    assert run.is_equal and run.sums == 2 * 2 * 256


@pytest.mark.slow
def test_codes_of_one_format_in_compiled_code_are_not_measured_as_another(capsys, tmp_path):
    path = str(tmp_path / "codes")
    for arguments, code in (
        (["run-layer", "mixpe-w4a8", "--tokens", "2", "--codes", path], 0),
        (["cost", "int8-mac", "--operands", path], 2),
    ):
        with pytest.raises(SystemExit) as exit:
            main(["rtl", *arguments])
        assert exit.value.code == code
    assert "weights of int4; int8-mac takes those of int8" in capsys.readouterr().err
