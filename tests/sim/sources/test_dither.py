import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

from sim.errors import UserError
from sim.sources.dither import DitheredSource
from sim.sources.gguf_file import open_gguf
from sim.sources.hf_directory import open_directory

NAME = "layers.0.mlp.down_proj.weight"


@pytest.fixture
def source(tiny, tmp_path):
    raw = tiny.CONFIGS["llama"]
    config = tiny.config_from_hf(raw)
    stored = tiny.gguf_tensors("llama", config, tiny.random_tensors(config))
    return open_gguf(tiny.write_gguf(tmp_path / "m.gguf", "llama", raw, stored, kind=Type.Q4_1))


def test_noise_is_uniform_over_one_step(source):
    noise = []
    for name in source.pieces:
        if name.endswith("_proj.weight"):
            difference = DitheredSource(source, 1).read(name) - source.read(name)
            noise.append((difference / source.grid_step(name)).ravel())
    noise = np.concatenate(noise)
    rounding = 2.0**-16  # of adding a small number to a larger one
    assert np.abs(noise).max() <= 0.5 + rounding
    # The mean and variance of n uniform numbers lie within 5 standard errors.
    assert abs(noise.mean()) < 5 * np.sqrt(1 / 12 / noise.size)
    assert abs(noise.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / noise.size)


def test_noise_does_not_depend_on_what_was_read_before(source):
    one, two = DitheredSource(source, 3), DitheredSource(source, 3)
    two.read("layers.1.mlp.up_proj.weight")
    assert np.array_equal(one.read(NAME), two.read(NAME))


def test_noise_depends_on_seed_and_name(source):
    def noise(seed, name):
        difference = DitheredSource(source, seed).read(name) - source.read(name)
        return difference / source.grid_step(name)

    gate, up = "layers.0.mlp.gate_proj.weight", "layers.0.mlp.up_proj.weight"
    assert np.abs(noise(0, gate) - noise(1, gate)).max() > 0.5
    assert np.abs(noise(0, gate) - noise(0, up)).max() > 0.5


def test_only_linear_matrices_get_noise(source):
    dithered = DitheredSource(source, 0)
    for name in source.pieces:
        is_same = np.array_equal(dithered.read(name), source.read(name))
        assert is_same != name.endswith("_proj.weight"), name


def test_a_dithered_source_says_so(source):
    dithered = DitheredSource(source, 7)
    assert dithered.name == "m, dequantized from Q4_1, dithered"
    assert dithered.notes == (
        *source.notes,
        (
            "Dithered with seed 7: noise, uniform over one step of the source's grid, is added to "
            "every linear matrix, in the float reference too."
        ),
    )
    hashes = {source.content_hash, dithered.content_hash, DitheredSource(source, 8).content_hash}
    assert len(hashes) == 3
    assert dithered.content_hash == DitheredSource(source, 7).content_hash
    assert dithered.config == source.config and dithered.source_types == source.source_types
    assert dithered.tokenizer().encode("a").size == 1


def test_a_negative_seed_is_refused(source):
    with pytest.raises(UserError, match=r"^the seed of the dither must be 0 or more, not -1$"):
        DitheredSource(source, -1)


def test_one_matrix_off_the_grid_is_enough_to_refuse(tiny, tmp_path):
    raw = tiny.CONFIGS["llama"]
    config = tiny.config_from_hf(raw)
    stored = tiny.gguf_tensors("llama", config, tiny.random_tensors(config))
    name = "blk.1.ffn_down.weight"
    stored[name] = stored[name].astype(np.float16)
    path = tmp_path / "m.gguf"
    source = open_gguf(tiny.write_gguf(path, "llama", raw, stored, kind=Type.Q4_1, plain=(name,)))
    message = rf"^tensor {name} of {path} is stored as F16, which is not a grid of equal steps; .*$"
    with pytest.raises(UserError, match=message):
        DitheredSource(source, 0)


def test_a_source_without_a_grid_is_refused_at_once(tiny, tmp_path):
    raw = tiny.CONFIGS["llama"]
    config = tiny.config_from_hf(raw)
    weights = tiny.raw_tensors(config, tiny.random_tensors(config))
    source = open_directory(tiny.write_directory(tmp_path / "mine", raw, weights))
    with pytest.raises(
        UserError, match=r"^the weights of mine are not on a quantization grid; .*$"
    ):
        DitheredSource(source, 0)
