"""Rotated models: the same float logits, other weights; families that can't be rotated."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics.solvers.hadamard import hadamard
from numerics.solvers.rotation import Dense, Hadamard, random_hadamard
from sim.errors import UserError
from sim.model.forward import hidden_states
from sim.model.head import logits
from sim.model.online import Online
from sim.model.params import ModelBuffers
from sim.model.tensors import tensor_shapes
from sim.sources.rotated import RotatedSource

TOKENS = jnp.asarray(np.random.default_rng(2).integers(0, 250, 24), jnp.int32)
RMS_FAMILIES = ("llama", "qwen2", "qwen3", "phi3")


@dataclasses.dataclass(frozen=True)
class Memory:
    """A source whose tensors are in memory."""

    config: object
    tensors: dict
    name: str = "memory"
    notes: tuple = ("a note",)
    content_hash: str = "abc"

    @property
    def source_types(self):
        return {"F32": len(self.tensors)}

    def read(self, name):
        return self.tensors[name].copy()

    def has_grid(self, name):
        return True

    def grid_step(self, name):
        raise NotImplementedError

    def tokenizer(self):
        raise NotImplementedError


@pytest.fixture
def model(tiny):
    """Return a function that makes a tiny model of a family, its norms and biases random."""

    def make(family, **changes):
        config = tiny.config_from_hf(tiny.CONFIGS[family])
        config = dataclasses.replace(config, **changes)
        tensors = tiny.random_tensors(config, seed=5)
        scaled = {n: t / 8 if t.ndim == 2 else 1 + t / 4 for n, t in tensors.items()}
        return Memory(config, scaled)

    return make


def run(source):
    """Return the logits of a window, from the parameters of the sweep."""
    buffers = ModelBuffers(source.config)
    for name in tensor_shapes(source.config):
        buffers.write(name, source.read(name))
    params = buffers.params()
    with jax.disable_jit():
        hidden = hidden_states(params, TOKENS, source.config)
    return np.asarray(logits(hidden, params, source.config), np.float64)


def rotations(config, r1=True, r2=True, online=None, seed=0, block=None):
    width, size = config.kv_heads * config.head_dim, config.head_dim
    return {
        "residual": random_hadamard(config.hidden_size, block or config.hidden_size, (seed, 0))
        if r1
        else None,
        "values": tuple(
            random_hadamard(width, size, (seed, 1, i)) for i in range(config.layers if r2 else 0)
        ),
        "online": online,
    }


def difference(source, **chosen):
    """Return the largest difference of logits, relative to their spread."""
    before, after = run(source), run(RotatedSource(source=source, **chosen))
    return float(np.abs(after - before).max() / before.std())


ALL = Online(down=96, o=4, qk=16)


@pytest.mark.parametrize("family", RMS_FAMILIES)
def test_all_rotations_together_leave_the_logits(family, model):
    source = model(family)
    online = dataclasses.replace(ALL, qk=source.config.head_dim)
    assert difference(source, **rotations(source.config, online=online)) < 1e-5


@pytest.mark.parametrize(
    "changes",
    [
        {"tie_embeddings": True},
        {"norm_weight_offset": 1.0, "embedding_scale": 8.0},
        {"attention_output_bias": True, "mlp_bias": True, "head_bias": True},
        {"parallel_block": True, "gated_mlp": False},
        {"final_norm": False},
        {"kv_heads": 1},
        {"kv_heads": 4},
    ],
)
def test_every_part_of_a_model_is_followed(changes, model):
    source = model("qwen2", **changes)
    assert difference(source, **rotations(source.config, online=ALL)) < 1e-5


@pytest.mark.parametrize(
    "online", [Online(down=32), Online(o=2), Online(qk=8), Online(o_values=64)]
)
def test_each_online_transform_leaves_the_logits(online, model):
    source = model("llama")
    assert difference(source, online=online) < 1e-5


def test_a_model_without_the_weights_to_match_is_another(model):
    source = model("llama")
    for online in (Online(down=96), Online(o=4)):
        config = dataclasses.replace(source.config, online=online)
        changed = run(dataclasses.replace(source, config=config)) - run(source)
        assert np.abs(changed).max() > 0.1 * run(source).std()


@pytest.mark.parametrize("family", ["gemma2", "gpt2", "phi2"])
def test_other_families_have_all_but_the_residual_rotation(family, model):
    source = model(family)
    online = dataclasses.replace(ALL, qk=source.config.head_dim)
    assert difference(source, **rotations(source.config, r1=False, online=online)) < 1e-5


def test_learned_matrices_rotate_as_well(model):
    source = model("llama")
    config, random = source.config, np.random.default_rng(3)
    residual = np.linalg.qr(random.standard_normal((config.hidden_size,) * 2))[0]
    heads = [np.linalg.qr(random.standard_normal((16, 16)))[0] for _ in range(config.layers)]
    values = tuple(Dense(matrix=m) for m in heads)
    assert difference(source, residual=Dense(matrix=residual), values=values) < 1e-5


def test_weights_are_those_of_the_algebra(model):
    source = model("llama")
    config = source.config
    chosen = rotations(config, online=ALL)
    rotated = RotatedSource(source=source, **chosen)
    n, inner = config.hidden_size, config.intermediate_size
    q = chosen["residual"].signs[:, None] * hadamard(n).T / np.sqrt(n)
    h = hadamard(inner).T / np.sqrt(inner)
    read = {name: source.read(f"layers.1.{name}.weight").astype(float) for name in (
        "mlp.down_proj", "mlp.up_proj", "mlp_norm",
    )}  # fmt: skip
    down = q.T @ read["mlp.down_proj"] @ h
    up = (read["mlp.up_proj"] * read["mlp_norm"]) @ q
    assert np.allclose(rotated.read("layers.1.mlp.down_proj.weight"), down, rtol=0, atol=1e-6)
    assert np.allclose(rotated.read("layers.1.mlp.up_proj.weight"), up, rtol=0, atol=1e-6)
    assert (rotated.read("layers.1.mlp_norm.weight") == 1).all()


def test_a_block_rotation_keeps_values_in_their_block(model):
    source = model("llama")
    chosen = rotations(source.config, r2=False, block=16)
    assert difference(source, **chosen) < 1e-5
    source.tensors["embed_tokens.weight"][0] = np.eye(64, dtype=np.float32)[20]
    row = RotatedSource(source=source, **chosen).read("embed_tokens.weight")[0]
    assert np.allclose(np.abs(row), np.repeat([0, 0.25, 0, 0], 16), atol=1e-7)


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("gpt2", "they normalise with LayerNorm, whose mean subtraction"),
        ("phi2", "they normalise with LayerNorm, whose mean subtraction"),
        ("gemma2", "they multiply by the weights of a norm before the residual addition"),
    ],
)
def test_residual_streams_that_cannot_be_rotated_are_refused(family, reason, model):
    source = model(family)
    message = f"^the residual stream of {source.config.family} models can't be .* {reason}"
    with pytest.raises(ValueError, match=message):
        RotatedSource(source=source, residual=Hadamard(size=64))


def test_a_rotated_source_describes_itself(model):
    source = model("llama", tie_embeddings=True)
    rotated = RotatedSource(source=source, **rotations(source.config, online=ALL))
    assert rotated.config == dataclasses.replace(source.config, online=ALL, tie_embeddings=False)
    assert (rotated.name, rotated.notes, rotated.content_hash) == ("memory", ("a note",), "abc")
    assert rotated.source_types == source.source_types
    name = "layers.0.mlp.up_proj.weight"
    assert not rotated.has_grid(name)
    with pytest.raises(UserError, match=f"^tensor {re.escape(name)} is rotated"):
        rotated.grid_step(name)
    with pytest.raises(ValueError, match=r"^the model is rotated already"):
        RotatedSource(source=rotated, residual=Hadamard(size=64))


def test_signs_follow_from_the_seed():
    # Results are stored under the seed, so these signs must not change between versions.
    assert random_hadamard(8, 8, (0, 0)).signs.tolist() == [-1, 1, -1, 1, -1, -1, -1, 1]
    assert random_hadamard(8, 8, (0, 1, 3)).signs.tolist() == [1, -1, 1, -1, 1, -1, 1, 1]
