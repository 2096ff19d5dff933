"""Blocks of small models with random tensors, for tests of methods."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from numerics import parse_scheme
from sim.calibration.statistics import Statistics
from sim.methods.block import Block
from sim.methods.folding import SITES
from sim.model.block_buffers import BlockBuffers
from sim.model.config import ModelConfig
from sim.model.families import config_from_hf
from sim.model.forward import block
from sim.model.layer_numerics import LayerNumerics
from sim.model.rope import rope_tables
from sim.model.tensors import fused_members, layer_shapes

FAMILIES = Path(__file__).parents[1] / "golden" / "families"
FLOAT = LayerNumerics()
WEIGHTS = parse_scheme("int3:g16")
INPUTS = parse_scheme("int4", role="activation")
QUANTIZED = LayerNumerics(qkv=INPUTS, o=INPUTS, gate_up=INPUTS, down=INPUTS)
TOKENS = 24


def config_of(case: str) -> ModelConfig:
    """Return the configuration of a small model of ``tests/golden/families``."""
    return config_from_hf(json.loads((FAMILIES / case / "config.json").read_text()))


def random_block(config: ModelConfig) -> tuple[Block, np.ndarray]:
    """Return a block with random tensors and the statistics of random states, and the states."""
    rng = np.random.default_rng(0)
    tensors = {
        name: (rng.standard_normal(shape) / 4).astype(np.float32)
        for name, shape in layer_shapes(config).items()
    }
    states = rng.standard_normal((TOKENS, config.hidden_size)).astype(np.float32)
    found = Block(
        config=config,
        index=0,
        tensors=tensors,
        statistics={},
        schemes={},
        activations=FLOAT,
        sites=frozenset(SITES),
    )
    found.statistics = statistics_of(found, states)
    return found, states


def run(found: Block, states: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the float outputs of a block, and what its linear layers read by site."""
    config = found.config
    rope = None if config.rope is None else rope_tables(config.rope, TOKENS)
    buffers = BlockBuffers(config)
    for name, tensor in found.tensors.items():
        buffers.write(name, tensor)
    with jax.disable_jit():
        out, sites = block(jnp.asarray(states), buffers.params(), config, FLOAT, rope, None)
    return np.asarray(out), {site: np.asarray(x) for site, x in sites.items()}


def statistics_of(found: Block, states: np.ndarray) -> dict[str, Statistics]:
    """Return the statistics of each site, with all inputs as the sample."""
    entries = {}
    for site, x in run(found, states)[1].items():
        entries[site] = Statistics.empty(x.shape[1])
        entries[site].add(x, sampled=TOKENS)
    return entries


def quantized_block(case: str = "llama", activations: LayerNumerics | None = QUANTIZED) -> Block:
    """Return a block with a scheme for every linear layer and a few channels of large inputs."""
    found, states = random_block(config_of(case))
    members = [m for names in fused_members(found.config).values() for m in names]
    found.schemes = dict.fromkeys(members, WEIGHTS)
    found.activations = activations or FLOAT
    found.tensors["attn_norm.weight"] = np.array(found.tensors["attn_norm.weight"])
    found.tensors["attn_norm.weight"][:3] *= 40
    found.statistics = statistics_of(found, states)
    return found
