"""Statistics of the float model on disk: measured once for all formats, and the same codes."""

import numpy as np
import pytest
from _helpers.observers import Quiet

from numerics import parse_scheme
from sim.calibration.options import CalibrationOptions
from sim.calibration.spool import Spool
from sim.calibration.stream import Stream
from sim.calibration.text import Calibration
from sim.errors import UserError
from sim.methods.chain import parse_chain
from sim.methods.run import quantized_blocks, solve
from sim.model.block_buffers import BlockBuffers
from sim.sources.catalog import open_model
from sim.sources.text import Text
from sim.sweep.calibrated import start_calibration
from sim.sweep.calibration_texts import read_calibration
from sim.sweep.engine import Sweep
from sim.sweep.recipe import plan
from sim.sweep.recipe_file import make_recipe
from sim.sweep.scored import scored_text
from sim.sweep.weights import read_embedding

TOKENS = np.random.default_rng(0).integers(0, 250, (8, 32)).astype(np.int32)
#: A method that reads Hessians and is solved in NumPy.
METHOD = "lorc(rank=2)"
RECIPE = make_recipe("int3:g32", method=METHOD)


@pytest.fixture(scope="module")
def source(tiny_model):
    return open_model(str(tiny_model))


@pytest.fixture
def passes(monkeypatch):
    """Blocks whose statistics were measured, in order."""
    measured, measure = [], Stream.statistics

    def counted(self, *arguments, **options):
        measured.append(self.index)
        return measure(self, *arguments, **options)

    monkeypatch.setattr(Stream, "statistics", counted)
    return measured


def kept(directory) -> Calibration:
    text = Text(name="noise", content="", sha256="")
    return Calibration(text=text, tokens=TOKENS, statistics=directory)


def codes_of(source, recipe, calibration) -> dict[tuple[int, str], np.ndarray]:
    point = plan(recipe, source.config)
    tables = read_embedding(source, point)[0]
    streams = start_calibration(source, point, lambda: tables, calibration, Spool())
    return {
        (block.index, member): np.asarray(codes.dequantize())
        for block in quantized_blocks(source, point, streams)
        for member, codes in block.codes.items()
    }


def test_a_second_format_makes_no_pass_over_the_text(source, tmp_path, passes):
    codes_of(source, RECIPE, kept(tmp_path))
    assert passes == [0, 1]
    codes_of(source, make_recipe("int4:g32", method=METHOD), kept(tmp_path))
    assert passes == [0, 1]


@pytest.mark.slow
def test_points_of_a_sweep_share_a_pass_and_say_whose_inputs_they_saw(
    source, text_file, tmp_path, passes
):
    text, windows = scored_text(text_file, source, tokens=128, context=32, spread=False)
    sweep = Sweep(
        source=source,
        text=text,
        windows=windows,
        recipes=tuple(make_recipe(name, method="gptq") for name in ("int3:g32", "mxfp4")),
        directory=tmp_path / "out",
        calibration=kept(tmp_path / "statistics"),
    )
    lines: list[str] = []

    class Recorder(Quiet):
        def block(self, line, done):
            lines.append(line)

    *_, last = sweep.run(Recorder())
    assert passes == [0, 1]
    assert lines[:2] == ["statistics of block 1/2", "statistics of block 2/2"]
    assert "block 2/2, output error " in lines[-1]
    assert "32 tokens, inputs of the float model; " in last.provenance["calibration"]


def test_codes_are_those_of_the_float_models_statistics(source, tmp_path, passes):
    first, second = (codes_of(source, RECIPE, kept(tmp_path)) for _ in range(2))
    assert passes == [0, 1]
    point = plan(RECIPE, source.config)
    stream = Stream.start(source.config, read_embedding(source, point)[0], TOKENS)
    buffers = BlockBuffers(source.config)
    for index in range(source.config.layers):
        for name in buffers.tensors:
            buffers.write(name, source.read(f"layers.{index}.{name}"))
        statistics = stream.statistics(buffers.params())["down"]
        statistics.hessian = statistics.hessian.astype(np.float32).astype(np.float64)
        matrix = buffers.tensors["mlp.down_proj.weight"]
        (expected,) = solve([matrix], parse_scheme("int3:g32"), parse_chain(METHOD), statistics)
        assert (first[index, "mlp.down_proj"] == np.asarray(expected.dequantize())).all()
        stream.advance(buffers.params())
    assert all((first[name] == codes).all() for name, codes in second.items())


def test_blocks_that_a_stopped_process_measured_are_kept(source, tmp_path, passes):
    codes_of(source, RECIPE, kept(tmp_path))
    (last,) = tmp_path.glob("*/block-0001.npz")
    last.unlink()
    passes.clear()
    codes_of(source, RECIPE, kept(tmp_path))
    assert passes == [1]


def test_other_tokens_are_measured_anew(source, tmp_path, passes):
    codes_of(source, RECIPE, kept(tmp_path))
    other = kept(tmp_path)
    reordered = Calibration(text=other.text, tokens=TOKENS[::-1], statistics=tmp_path)
    codes_of(source, RECIPE, reordered)
    assert passes == [0, 1, 0, 1]


def test_the_target_of_the_model_needs_inputs_behind_quantized_blocks(source, tmp_path):
    recipe = make_recipe("int4:g32", method="gptq(target=model)")
    options = CalibrationOptions(calibration_tokens=64, sequence=32, statistics=tmp_path)
    with pytest.raises(UserError, match=r"^gptq\(target=model\) compares [^\n]*leave --statistics"):
        read_calibration(options, source, [recipe])
