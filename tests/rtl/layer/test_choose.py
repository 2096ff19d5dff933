"""Layers on PEs: outputs compared with numerics without a PE."""

import inspect
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

import sim.hardware.run_layer
from rtl.catalog import PES, find_pe
from rtl.layer.choose import layer_of
from rtl.layer.layer import Layer
from sim.cli import main
from sim.hardware.run_layer import _sums, run_layer

RANDOM = np.random.default_rng(0)
#: 300 inputs are two groups and a short one; 7 outputs are not a multiple of the columns.
WEIGHT = RANDOM.normal(0.0, 0.02, (7, 300)).astype(np.float32)
X = RANDOM.normal(0.0, 2.0, (3, 300)).astype(np.float32)
QUICK = ["int8-mac", "mixpe-w4a8-zero", "tl1-lookup", "aqlm-2x4", "mixpe-w4a16-running"]
PART = "bitmod-dequantizer"
#: Norm of the error over that of the outputs, of formats with few bits.
ERRORS = {
    "ternary-16": 0.7,
    "tl1-lookup": 0.7,
    "tl2-lookup": 0.7,
    "binary-16": 0.7,
    "binary-columns": 0.8,
    "aqlm-2x4": 0.7,
    "e8p-dot": 0.4,
    "dint3-mac": 0.3,
    "bitmod-fp3": 0.4,
    "bitmod-fp3-aligned": 0.4,
}


class Golden:
    """Stand-in for the compiled PE that returns the golden results."""

    def __init__(self, pe, optimize):
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


def quick_first(names):
    return [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in names]


@pytest.mark.parametrize("name", quick_first(n for n in PES if n != PART))
def test_golden_sums_come_to_what_numerics_computes(name):
    layer = layer_of(find_pe(name), WEIGHT, X)
    sums, golden, _ = _sums(layer)
    assert sums.shape == (-(-300 // layer.group), 3, 7) and np.array_equal(sums, golden)
    found, wanted = layer.results(sums), X @ WEIGHT.T
    assert np.linalg.norm(found - wanted) < ERRORS.get(name, 0.25) * np.linalg.norm(wanted)
    assert np.array_equal(found.view(np.uint32), layer.expected.view(np.uint32))
    sums[0, 2, 3] ^= 1 << max(abs(int(sums[0, 2, 3])).bit_length() - 8, 0)
    assert not np.array_equal(layer.results(sums), layer.expected)


def test_every_family_has_a_module_that_runs_layers():
    for pe in PES.values():
        if pe.name != PART:
            found = inspect.signature(import_module(pe._layer_module).layer)
            assert list(found.parameters) == ["pe", "weight", "x", "lanes", "tile"]
            assert found.parameters["pe"].annotation is not inspect.Parameter.empty
            assert isinstance(pe, found.parameters["pe"].annotation)


@pytest.mark.parametrize("name", ["tl1-lookup", pytest.param("vptq-2x4", marks=pytest.mark.slow)])
def test_weights_of_a_pe_that_got_others_are_noticed(name, monkeypatch):
    original = Layer.split
    monkeypatch.setattr(Layer, "split", lambda self, results: original(self, results)[:, ::-1])
    layer = layer_of(find_pe(name), WEIGHT, X)
    assert not np.array_equal(layer.results(_sums(layer)[0]), layer.expected)


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
    with pytest.raises(
        ValueError, match="4 columns of 19 bits make results of 76 bits, of 63 at most"
    ):
        layer_of(find_pe("mixpe-w4a8-zero"), WEIGHT, X, tile=4)


@pytest.mark.parametrize(
    "name,sizes,words",
    [
        (
            PART,
            {},
            "its operands are sums of groups; use bitmod-fp4-column",
        ),
        ("e8p-dot", {"lanes": 12}, "12 lanes; a code has 8 weights, so give a multiple"),
        ("nvfp4-dot", {"lanes": 32}, "32 lanes, blocks of 16 and groups of 128 values; each has"),
        ("vptq-2x4", {"tile": 7}, "7 rows and 4 columns a beat"),
        ("int8-mac", {"tile": 8}, "a tile of 8 PEs for 7 outputs; give at most one per output"),
        ("tl2-lookup", {"lanes": 4}, "give a multiple of 9"),
        ("fp16-mac", {"lanes": 2}, "2 lanes; fp16-mac adds one product per cycle"),
    ],
)
def test_what_no_layer_fits(name, sizes, words):
    with pytest.raises(ValueError, match=f"^{name} can't run a layer: .*{words}"):
        layer_of(PES[name], WEIGHT, X, **sizes)


@pytest.mark.parametrize("name", ["mxfp4-dot", "mixpe-w4a8-fp16"])
def test_the_scale_of_a_row_of_one_block_is_the_pes(name):
    layer = layer_of(find_pe(name), WEIGHT[:3, :8], X[:, :8])
    assert np.array_equal(layer.results(_sums(layer)[0]), layer.expected)
    assert (layer.scales == 1).all()


def test_blocks_below_the_window_of_a_result_are_told():
    weight = np.exp2(np.arange(300) // 32 * 5.0)[None].astype(np.float32)
    with pytest.raises(ValueError, match="one result differ by 45 powers of two"):
        layer_of(replace(PES["mxfp4-dot"], length=512), weight, np.ones_like(weight))


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in PES if n != PART])
def test_a_real_layer_through_compiled_code(name):
    run = run_layer("embedded", "layers.1.self_attn.o_proj", find_pe(name), tokens=2)
    assert run.is_equal and run.sums in (2 * 256, 2 * 2 * 256, 2 * 3 * 256)


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
