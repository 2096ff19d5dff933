"""``qsim rtl cost --operands``: energy measured on the codes of a layer."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from numerics.pe.exact_dot import exact_dots
from rtl.catalog import PES
from rtl.cost.cost import cost
from sim.cli import main
from sim.errors import UserError
from sim.hardware.operands import LayerCodes, read_codes, stream_of, write_codes

RANDOM = np.random.default_rng(0)
CODES = LayerCodes(
    source="q_proj of a model",
    weights=RANDOM.integers(0, 16, (24, 300), dtype=np.uint8),
    activations=RANDOM.integers(0, 256, (5, 300), dtype=np.uint8),
)


def test_what_is_written_is_read(tmp_path):
    write_codes(CODES, tmp_path / "codes")
    found = read_codes(tmp_path / "codes")
    assert found.source == CODES.source
    assert np.array_equal(found.weights, CODES.weights)
    assert np.array_equal(found.activations, CODES.activations)


def test_operands_are_groups_of_the_layer():
    pe = PES["int4x8-mac"]
    operands = stream_of(pe, CODES).operands
    for name, rows in (("weights", CODES.weights), ("activations", CODES.activations)):
        groups = operands[name].reshape(256, 128)
        known = {row[at : at + 128].tobytes() for row in rows for at in (0, 128)}
        assert {group.astype(np.uint8).tobytes() for group in groups} <= known
        assert len({group.tobytes() for group in groups}) > len(rows)
    sums = exact_dots(
        pe.weights, pe.activations, *(operands[n].reshape(256, 128) for n in operands)
    )
    assert np.array_equal(pe.golden(operands), sums)


@pytest.mark.slow
def test_weights_of_zero_cost_less_energy_than_gaussian_ones():
    pe = PES["int4x8-mac"]
    quiet = LayerCodes(source="zeros", weights=CODES.weights * 0, activations=CODES.activations)
    record = cost(pe, stream=stream_of(pe, quiet))
    usual = cost(pe)
    assert record.area_um2 == usual.area_um2 and record.operands.startswith("zeros: weights")
    assert "100% zeros" in record.operands and usual.operands.startswith("Gaussian")
    assert record.energy_no_delay_fj_per_mac < 0.8 * usual.energy_no_delay_fj_per_mac


@pytest.mark.parametrize(
    "tensors,words",
    [
        ({"weights": np.zeros((2, 8), np.uint8)}, ["no tensor activations", "holds weights"]),
        ({"weights": np.zeros((2, 8), np.float32), "activations": CODES.activations}, ["float32"]),
        ({"weights": np.zeros(8, np.uint8), "activations": CODES.activations}, ["shape (8,)"]),
        ({"weights": CODES.weights, "activations": CODES.activations[:, :8]}, ["300", "of 8"]),
        ({"weights": CODES.weights + 1, "activations": CODES.activations}, ["code 16", "0 to 15"]),
        (
            {"weights": CODES.weights[:, :0], "activations": CODES.activations[:, :0]},
            ["shape (24, 0)"],
        ),
    ],
)
def test_bad_files_are_one_line(capsys, tmp_path, tensors, words):
    save_file({name: np.ascontiguousarray(each) for name, each in tensors.items()}, tmp_path / "a")
    with pytest.raises(SystemExit) as exit:
        main(["rtl", "cost", "int4x8-mac", "--operands", str(tmp_path / "a")])
    error = capsys.readouterr().err
    assert exit.value.code == 2 and error.count("\n") == 1 and all(w in error for w in words)


def test_formats_that_a_file_says_have_to_be_the_pes(tmp_path):
    named = replace(CODES, formats={"weights": "int4", "activations": "int8"})
    write_codes(named, tmp_path / "codes")
    found = read_codes(tmp_path / "codes")
    assert found.formats == named.formats and stream_of(PES["int4x8-mac"], found)
    with pytest.raises(UserError, match="weights of int4; int8-mac takes those of int8"):
        stream_of(PES["int8-mac"], found)
    with pytest.raises(UserError, match="is a directory; --operands takes a file"):
        read_codes(tmp_path)


@pytest.mark.slow
def test_fp16_codes_are_operands_of_bitmods_pes():
    pe = PES["bitmod-int4-aligned"]
    activations = RANDOM.normal(0.0, 1.0, (5, 300)).astype(np.float16).view(np.uint16)
    codes = LayerCodes(
        source="fp16",
        weights=CODES.weights,
        activations=activations,
        formats={"weights": "int4", "activations": "fp16"},
    )
    stream = stream_of(pe, codes)
    assert stream.operands["weights"].shape == (256, 32, 4) and "zeros" in stream.source
    of_fp16 = LayerCodes(
        source="fp16",
        weights=activations[:2],
        activations=activations,
        formats={"weights": "fp16", "activations": "fp16"},
    )
    assert stream_of(PES["fp16-mac"], of_fp16).operands["weights"].shape == (256, 128, 1)
    with pytest.raises(UserError, match="activations of fp16; int4x8-mac takes those of int8"):
        stream_of(PES["int4x8-mac"], codes)
    with pytest.raises(UserError, match="bitmod-fp4-column does not read rows"):
        stream_of(PES["bitmod-fp4-column"], codes)


def test_other_pes_and_files_are_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"no tensors")
    with pytest.raises(UserError, match="is not a safetensors file"):
        read_codes(tmp_path / "a")
    with pytest.raises(UserError, match="e8p-dot does not read rows"):
        stream_of(PES["e8p-dot"], CODES)
    wide = replace(PES["int8-mac"], lanes=512, length=1024)
    with pytest.raises(UserError, match="300 inputs is too short"):
        stream_of(wide, CODES)


@pytest.mark.slow
def test_codes_of_a_layer_that_ran(capsys, tmp_path):
    for arguments in (
        ["run-layer", "int8-mac", "--tokens", "4", "--codes", str(tmp_path / "codes")],
        ["cost", "int8-mac", "--operands", str(tmp_path / "codes"), "--json"],
    ):
        with pytest.raises(SystemExit) as exit:
            main(["rtl", *arguments])
        assert exit.value.code == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["operands"].startswith("layers.0.self_attn.q_proj of embedded, 4 tokens: ")
