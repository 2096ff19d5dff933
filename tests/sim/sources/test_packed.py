import dataclasses
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from numerics import SCHEMES, fake_quantize
from numerics.solvers.rotation import Hadamard
from sim.calibration.text import Calibration
from sim.errors import UserError
from sim.methods.rotations import Rotate
from sim.methods.run import quantized_blocks
from sim.methods.streams import CalibrationStreams
from sim.model.online import Online
from sim.model.tensors import linear_names, tensor_shapes
from sim.model.yarn import Yarn
from sim.quantized.table_types import TableTypes
from sim.quantized.writer import write_model
from sim.quantized.written_notes import written_notes
from sim.sources.catalog import open_model
from sim.sources.packed_description import read_description
from sim.sources.packed_floats import smallest_type
from sim.sources.rotated import RotatedSource
from sim.sources.text import Text
from sim.sweep.recipe import plan
from sim.sweep.recipe_file import make_recipe
from sim.sweep.weights import read_embedding


@pytest.fixture(scope="module")
def source(tiny_model):
    return open_model(str(tiny_model))


@pytest.fixture(scope="module")
def packed(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed") / "model"
    return write_model(source, make_recipe("int4:g32:asym"), out)


@pytest.fixture
def copy(packed, tmp_path):
    return shutil.copytree(packed, tmp_path / "copy")


def same(a, b):
    return np.array_equal(a.view(np.uint32), b.view(np.uint32))


@pytest.mark.optimized
@pytest.mark.parametrize(
    "name",
    ["nvfp4"]
    + [
        pytest.param(n, marks=pytest.mark.slow)
        for n in ("int3:g32:asym", "fp4:g32", "ternary:channel", "mxfp6_e3m2")
    ],
)
def test_what_is_read_is_what_a_sweep_computes_with(source, tmp_path, name):
    recipe = make_recipe(name)
    exact = TableTypes(embeddings="keep")
    read = open_model(str(write_model(source, recipe, tmp_path / "model", exact)))
    assert read.config == source.config
    for block in quantized_blocks(source, plan(recipe, source.config)):
        for tensor, values in block.tensors.items():
            name = f"layers.{block.index}.{tensor}"
            assert same(values, read.read(name)), name
    for name in tensor_shapes(source.config):
        if not name.startswith("layers."):
            assert same(source.read(name), read.read(name)), name


def test_layers_that_are_kept_come_back_too(source, tmp_path):
    recipe = make_recipe("int4:g32", skip=("*.down_proj",))
    read = open_model(str(write_model(source, recipe, tmp_path / "model")))
    kept = next(n for n in linear_names(source.config) if n.endswith("down_proj"))
    assert same(read.read(f"{kept}.weight"), source.read(f"{kept}.weight"))
    assert read.source_types == {"int4:g32:fp16": len(read.description.matrices)}
    assert len(read.description.matrices) == len(linear_names(source.config)) - source.config.layers


def test_a_rotated_model_keeps_its_online_transforms(source, packed, tmp_path):
    online = Online(down=96, o=4, qk=16)
    rotated = RotatedSource(source=source, residual=Hadamard(size=64), online=online)
    read = open_model(str(write_model(rotated, make_recipe("int4:g32"), tmp_path / "model")))
    assert read.config == rotated.config and read.config.online == online
    # Files of models without them are as before.
    assert "online" not in json.loads((packed / "qsim.json").read_text())["config"]


def test_a_rotated_model_keeps_every_value_of_its_tables(source, tmp_path):
    path = write_model(source, make_recipe("int8:channel", method="rotate"), tmp_path / "model")
    rotated, read = Rotate().rotated(source), open_model(str(path))
    for name in ("embed_tokens.weight", "lm_head.weight"):
        assert np.array_equal(read.read(name), rotated.read(name)), name
    assert written_notes(source, path, TableTypes()) == []


def test_the_tokenizer_comes_along(source, packed):
    text = "the cat sat"
    read = open_model(str(packed)).tokenizer()
    assert read.encode(text).tolist() == source.tokenizer().encode(text).tolist()
    assert read.bos_id == source.tokenizer().bos_id


def test_the_file_is_as_small_as_the_scheme_says(source, packed):
    stored = load_file(packed / "model.safetensors")
    shapes = tensor_shapes(source.config)
    name = f"{linear_names(source.config)[0]}.weight"
    size = sum(array.nbytes for key, array in stored.items() if key.startswith(f"{name}."))
    scheme = open_model(str(packed)).description.matrices[name.removesuffix(".weight")]
    assert 8 * size / np.prod(shapes[name]) == scheme.bits_per_weight(shapes[name], kind="stored")


@pytest.mark.parametrize(
    ("kind", "stored"), [(None, np.float16), ("f32", np.float32), ("keep", np.float32)]
)
def test_the_embedding_has_16_bits_unless_asked(source, tmp_path, kind, stored):
    recipe = make_recipe("int4:g32", skip=("layers.0.*",))
    path = write_model(source, recipe, tmp_path / "model", TableTypes(embeddings=kind))
    found = load_file(path / "model.safetensors")
    assert found["embed_tokens.weight"].dtype == stored
    values = source.read("embed_tokens.weight")
    assert np.array_equal(found["embed_tokens.weight"], values.astype(stored))
    # A layer that is kept is exact.
    kept = "layers.0.mlp.up_proj.weight"
    assert np.array_equal(found[kept].astype(np.float32), source.read(kept))


def test_others_can_read_the_files(packed):
    assert {path.stat().st_mode & 0o777 for path in packed.iterdir()} == {0o644}


def test_kept_values_take_the_smallest_type_that_holds_them():
    assert smallest_type(np.float32([1.5, -0.0])).dtype == "bfloat16"
    assert smallest_type(np.float32([1 + 2**-10])).dtype == np.float16
    assert smallest_type(np.float32([1e10 + 1024])).dtype == np.float32
    assert smallest_type(np.float32([1e38, 1 / 3])).dtype == np.float32


def test_an_existing_directory_is_not_touched(source, packed):
    before = sorted(packed.iterdir())
    with pytest.raises(UserError, match="exists already; name a new file or directory"):
        write_model(source, make_recipe("fp4:g32"), packed)
    assert sorted(packed.iterdir()) == before


def test_nothing_half_written_stays(source, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sim.quantized.tensor_file.TensorFile.add", full)
    with pytest.raises(OSError, match="No space"):
        write_model(source, make_recipe("fp4:g32"), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def change(copy, **fields):
    path = copy / "qsim.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_yarn_and_several_tokens_before_a_text_are_kept(copy, source):
    read = read_description(copy)
    yarn = Yarn(factor=4.0, original_positions=32, truncate=False)
    rope = dataclasses.replace(read.config.rope, yarn=yarn)
    config = dataclasses.replace(read.config, rope=rope)
    changed = dataclasses.replace(read, prefix_ids=(7, 3), config=config)
    assert "yarn" not in json.loads((copy / "qsim.json").read_text())["config"]["rope"]
    (copy / "qsim.json").write_text(changed.to_json())
    assert read_description(copy) == changed


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"version": 1}, "version 1; only 'qsim-quantized', version 2 can be read"),
        ({"bos_id": "one"}, "bos_id is 'one', not"),
        ({"matrices": {"layers.0.mlp.up_proj": "fp5"}}, "unknown format 'fp5'"),
        ({"matrices": {"layers.9.mlp.up_proj": "fp4"}}, "which the model lacks"),
        ({"matrices": {}}, "(lacks|has an unknown) array"),
        ({"config": {"family": "llama", "wings": 2}}, "ModelConfig has no field 'wings'"),
        ({"config": {"online": {"gate": 2}}}, "Online has no field 'gate'"),
        ({"config": {"family": "llama"}}, "ModelConfig lacks head_dim, heads, hidden_size"),
        ({"recipe": None}, "recipe is None, not str"),
    ],
)
def test_other_descriptions_are_refused(copy, fields, message):
    change(copy, **fields)
    with pytest.raises(UserError, match=message):
        open_model(str(copy))


def test_a_scheme_that_stores_no_such_rows_is_refused(copy):
    description = json.loads((copy / "qsim.json").read_text())
    description["matrices"] = dict.fromkeys(description["matrices"], "tq1_0")
    (copy / "qsim.json").write_text(json.dumps(description))
    with pytest.raises(UserError, match=r"weight: tq1_0 stores rows of whole blocks of 256"):
        open_model(str(copy))


def test_more_layers_than_arrays_are_refused_at_once(copy):
    description = json.loads((copy / "qsim.json").read_text())
    description["config"]["layers"] = 10**12
    (copy / "qsim.json").write_text(json.dumps(description))
    with pytest.raises(UserError, match=r"says 1000000000000 layers, more than .* has arrays"):
        open_model(str(copy))


def test_arrays_of_another_size_are_refused(copy):
    stored = load_file(copy / "model.safetensors")
    name = next(key for key in stored if key.endswith(".codes"))
    save_file(stored | {name: stored[name][:-1].copy()}, copy / "model.safetensors")
    with pytest.raises(UserError, match=r"\.codes in .* is U8\[\d+\], not \d+ values of U8$"):
        open_model(str(copy))
    (copy / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(UserError, match="can't read"):
        open_model(str(copy))


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMES)
def test_every_named_scheme_can_be_written(source, tmp_path, name):
    size = 32 if (SCHEMES[name].group_size or 0) >= 64 else None
    path = write_model(source, make_recipe(name, group_size=size), tmp_path / "model")
    assert open_model(str(path)).read("layers.0.mlp.up_proj.weight").size


@pytest.mark.parametrize("name", ["x.gguf", "x.GGUF"])
def test_a_format_without_a_gguf_type_makes_no_directory_named_as_a_file(tmp_path, name):
    with pytest.raises(UserError, match="has no block type in GGUF"):
        write_model(open_model("embedded"), make_recipe("fp4"), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", ["clip", pytest.param("gptq", marks=pytest.mark.slow)])
def test_codes_that_a_method_chose_read_back_as_chosen(source, tmp_path, method):
    recipe = make_recipe("int3:g32:asym", method=method)
    tokens = np.random.default_rng(0).integers(0, 250, (8, 32)).astype(np.int32)
    text = Text(name="noise", content="", sha256="")
    calibration = Calibration(text=text, tokens=tokens)
    path = write_model(source, recipe, tmp_path / "model", calibration=calibration)
    read = open_model(str(path))
    point = plan(recipe, source.config)
    streams = CalibrationStreams.start(point, read_embedding(source, point)[0], tokens)
    for block in quantized_blocks(source, point, streams):
        for member, codes in block.codes.items():
            name = f"layers.{block.index}.{member}.weight"
            assert (read.read(name) == np.asarray(codes.dequantize())).all()
            nearest = np.asarray(fake_quantize(source.read(name), codes.scheme))
            assert (read.read(name) != nearest).any()


def test_a_gguf_file_holds_the_codes_that_a_method_chose(source, tmp_path, monkeypatch):
    none = {"tokenizer.ggml.model": "none"}
    monkeypatch.setattr("sim.quantized.writer.vocabulary_keys", lambda source: none)
    recipe = make_recipe("q4_0", method="gptq(order=natural,sweeps=0)")
    tokens = np.random.default_rng(0).integers(0, 250, (8, 32)).astype(np.int32)
    calibration = Calibration(text=Text(name="noise", content="", sha256=""), tokens=tokens)
    file = write_model(source, recipe, tmp_path / "m.gguf", calibration=calibration)
    nearest = write_model(source, make_recipe("q4_0"), tmp_path / "nearest.gguf")
    read, rounded = open_model(str(file)), open_model(str(nearest))
    point = plan(recipe, source.config)
    streams = CalibrationStreams.start(point, read_embedding(source, point)[0], tokens)
    for block in quantized_blocks(source, point, streams):
        for member, codes in block.codes.items():
            name = f"layers.{block.index}.{member}.weight"
            assert same(read.read(name), np.asarray(codes.dequantize())), name
            assert not same(read.read(name), rounded.read(name))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.gguf", "nearest.gguf"]


def test_a_repair_has_no_place_in_a_gguf_file(source, tmp_path):
    recipe = make_recipe("q4_0", method="lorc(weighted=false)")
    with pytest.raises(UserError, match="low-rank repairs, which GGUF files can't hold"):
        write_model(source, recipe, tmp_path / "m.gguf")
