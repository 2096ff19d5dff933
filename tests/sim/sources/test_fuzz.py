"""Damaged files may be refused in one line or read; nothing else may happen, nor much memory."""

import json
import os
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from _helpers.layouts import SETTINGS, random_parts, requantized, save
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.errors import UserError
from sim.model.families import config_from_hf, tensor_shapes
from sim.sources.gguf_file import open_gguf
from sim.sources.hf_directory import HfDirectory, open_directory
from sim.sources.hf_files import list_tensors
from sim.sources.readers.array_types import DTYPES
from sim.sources.readers.tensor_bytes import read_array
from sim.sources.tokenizer import load_tokenizer

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "num_hidden_layers": 1,
    "max_position_embeddings": 16,
}
MEMORY_LIMIT = 32 * 2**20
FUZZ = settings(
    max_examples=int(os.environ.get("QSIM_FUZZ_EXAMPLES", "20")),
    deadline=None,
    derandomize="QSIM_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

ABSURD = (2**8, 2**16 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63, 2**64 - 1)
mutation = st.one_of(
    st.tuples(st.just("truncate"), st.floats(0, 1), st.just(0)),
    st.tuples(st.just("byte"), st.floats(0, 1), st.integers(0, 255)),
    st.tuples(st.just("absurd"), st.floats(0, 1), st.sampled_from(ABSURD)),
    st.tuples(st.just("delete"), st.floats(0, 1), st.integers(1, 9)),
    st.tuples(st.just("insert"), st.floats(0, 1), st.integers(0, 255)),
)
mutations = st.lists(mutation, min_size=1, max_size=4)


def mutate(raw: bytes, mutations, region: int) -> bytes:
    """Apply mutations at places given as fractions of the first ``region`` bytes."""
    data = bytearray(raw)
    for kind, where, argument in mutations:
        at = int(where * min(region, len(data)))
        if kind == "truncate":
            del data[at:]
        elif kind == "byte":
            data[at : at + 1] = bytes([argument])
        elif kind == "absurd":
            data[at : at + 8] = argument.to_bytes(8, "little")
        elif kind == "delete":
            del data[at : at + argument]
        else:
            data[at:at] = bytes([argument])
    return bytes(data)


@pytest.fixture(scope="module")
def quantized(tiny, tmp_path_factory):
    """Return a directory of each layout of quantized layers."""
    raw = tiny.CONFIGS["llama"] | SMALL | {"hidden_size": 64, "intermediate_size": 64}
    config = config_from_hf(raw)
    path = tmp_path_factory.mktemp("layouts")
    tensors = tiny.raw_tensors(config, tiny.random_tensors(config))
    floats = tiny.write_directory(path / "float", raw, tensors)
    return {
        method: requantized(
            floats,
            path / method,
            settings | {"quant_method": method},
            lambda weight, method=method: random_parts(method, weight.shape),
        )
        for method, settings in SETTINGS.items()
    }


def use(open_source) -> None:
    """Do all that can be done with a source; one line of refusal is allowed at each step."""
    tracemalloc.start()
    try:
        source = open_source()
        assert len(source.content_hash) == 64 and source.notes is not None
        for name in tensor_shapes(source.config):
            assert np.isfinite(source.read(name)).all()
        if isinstance(source, HfDirectory):
            assert len(source.activations) + len(source.kv) >= 0
        tokenizer = source.tokenizer()
        tokenizer.decode(tokenizer.encode("The 11 theories\n"))
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 700
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MEMORY_LIMIT


@pytest.fixture(scope="module")
def models(tiny, tmp_path_factory):
    """A directory and a GGUF file of one tiny model."""
    raw = tiny.CONFIGS["llama"] | SMALL
    config = config_from_hf(raw)
    tensors = tiny.random_tensors(config)
    path = tmp_path_factory.mktemp("fuzz")
    directory = tiny.write_directory(path / "hf", raw, tiny.raw_tensors(config, tensors))
    stored = tiny.gguf_tensors("llama", config, tensors)
    file = tiny.write_gguf(path / "m.gguf", "llama", raw, stored, kind=tiny.Type.Q4_1)
    return directory, file


@FUZZ
@given(mutations=mutations, in_header=st.booleans())
def test_a_damaged_gguf_file_is_refused_in_one_line_or_read(models, tmp_path, mutations, in_header):
    raw = models[1].read_bytes()
    path = tmp_path / "x.gguf"
    path.write_bytes(mutate(raw, mutations, 9000 if in_header else len(raw)))
    use(lambda: open_gguf(path))


def copy(models, tmp_path: Path) -> Path:
    target = tmp_path / "hf"
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(models[0], target))


@FUZZ
@given(mutations=mutations, in_header=st.booleans())
def test_a_damaged_safetensors_file_is_refused_in_one_line_or_read(
    models, tmp_path, mutations, in_header
):
    directory = copy(models, tmp_path)
    raw = (directory / "model.safetensors").read_bytes()
    region = 2000 if in_header else len(raw)
    (directory / "model.safetensors").write_bytes(mutate(raw, mutations, region))
    use(lambda: open_directory(directory))


@FUZZ
@given(mutations=mutations, name=st.sampled_from(["config.json", "tokenizer.json"]))
def test_a_damaged_json_file_is_refused_in_one_line_or_read(models, tmp_path, mutations, name):
    directory = copy(models, tmp_path)
    raw = (directory / name).read_bytes()
    (directory / name).write_bytes(mutate(raw, mutations, len(raw)))
    use(lambda: open_directory(directory))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@FUZZ
@given(data=st.data())
def test_any_value_of_a_configuration_field_is_refused_in_one_line_or_read(models, tmp_path, data):
    directory = copy(models, tmp_path)
    config = json.loads((directory / "config.json").read_text())
    key = data.draw(st.sampled_from([*config, "rope_scaling", "rope_theta", "head_dim"]))
    config[key] = data.draw(json_values)
    (directory / "config.json").write_text(json.dumps(config))
    use(lambda: open_directory(directory))


@FUZZ
@given(data=st.data())
def test_any_value_in_a_tokenizer_is_refused_in_one_line_or_read(models, tmp_path, data):
    content = json.loads((models[0] / "tokenizer.json").read_text())
    content[data.draw(st.sampled_from(list(content)))] = data.draw(json_values)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    try:
        load_tokenizer(tmp_path).encode("The 11 theories")
    except UserError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("method", SETTINGS)
def test_a_directory_of_each_layout_is_read(quantized, method):
    source = open_directory(quantized[method])
    assert source.is_quantized("layers.0.mlp.down_proj.weight")
    for name in tensor_shapes(source.config):
        assert np.isfinite(source.read(name)).all()


methods = st.sampled_from(list(SETTINGS))


@FUZZ
@given(method=methods, mutations=mutations, in_header=st.booleans())
def test_a_damaged_file_of_quantized_layers_is_refused_in_one_line_or_read(
    quantized, tmp_path, method, mutations, in_header
):
    directory = copy([quantized[method]], tmp_path)
    raw = (directory / "model.safetensors").read_bytes()
    region = 4000 if in_header else len(raw)
    (directory / "model.safetensors").write_bytes(mutate(raw, mutations, region))
    use(lambda: open_directory(directory))


@FUZZ
@given(method=methods, data=st.data())
def test_any_value_of_a_quantization_setting_is_refused_in_one_line_or_read(
    quantized, tmp_path, method, data
):
    directory = copy([quantized[method]], tmp_path)
    config = json.loads((directory / "config.json").read_text())
    place = config["quantization_config"]
    while True:
        name = data.draw(st.sampled_from(sorted(place)))
        inner = place[name]
        if not isinstance(inner, dict) or not inner or data.draw(st.booleans()):
            break
        place = inner
    place[name] = data.draw(json_values)
    (directory / "config.json").write_text(json.dumps(config))
    use(lambda: open_directory(directory))


@FUZZ
@given(method=methods, data=st.data())
def test_tensors_of_other_shapes_and_types_are_refused_in_one_line_or_read(
    quantized, tmp_path, method, data
):
    directory = copy([quantized[method]], tmp_path)
    stored = {name: read_array(tensor, name) for name, tensor in list_tensors(directory).items()}
    name = data.draw(st.sampled_from([n for n in sorted(stored) if "_proj." in n]))
    shape = data.draw(st.lists(st.integers(0, 70), max_size=3))
    kind = data.draw(st.sampled_from(sorted(DTYPES)))
    stored[name] = np.zeros(shape, DTYPES[kind])
    save(stored, directory / "model.safetensors")
    use(lambda: open_directory(directory))
