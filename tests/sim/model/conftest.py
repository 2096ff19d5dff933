import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from sim.model.config import ModelConfig
from sim.model.families import config_from_hf, read_hf, tensor_shapes
from sim.model.forward import Params, hidden_states
from sim.model.params import ModelBuffers

run = jax.jit(hidden_states, static_argnums=2)
FAMILIES = Path(__file__).parents[2] / "golden" / "families"


@dataclass(frozen=True)
class GoldenModel:
    """A small model and the results of transformers for it; see tests/golden/families."""

    raw_config: dict[str, Any]
    raw: dict[str, np.ndarray]
    tokens: np.ndarray
    logits: np.ndarray
    inverse_frequencies: np.ndarray | None

    @property
    def config(self) -> ModelConfig:
        return config_from_hf(self.raw_config)

    def params(self) -> Params:
        buffers = ModelBuffers(self.config)
        for name in tensor_shapes(self.config):
            buffers.write(name, read_hf(self.config, name, self.raw.__getitem__))
        return buffers.params()

    def error(self, config: ModelConfig, params: Params, *, compiled: bool = False) -> float:
        """Largest difference of our logits to the golden ones, in their standard deviations."""
        # Small models that run once are faster without a compiler.
        with jax.disable_jit(not compiled):
            hidden = run(params, jnp.asarray(self.tokens), config)
        difference = logits(config, params, np.asarray(hidden)) - self.logits
        return float(np.abs(difference).max() / self.logits.std())


def logits(config: ModelConfig, params: Params, hidden: np.ndarray) -> np.ndarray:
    """Apply the head, written here so that only the layers under test are the project's."""
    out = hidden @ np.asarray(params["embed" if config.tie_embeddings else "head"]).T
    if config.head_bias:
        out = out + np.asarray(params["head_bias"])
    if config.final_softcap is not None:
        out = config.final_softcap * np.tanh(out / config.final_softcap)
    return out


@cache
def load(name: str) -> GoldenModel:
    folder = FAMILIES / name
    golden = load_file(folder / "golden.safetensors")
    return GoldenModel(
        raw_config=json.loads((folder / "config.json").read_text()),
        raw=load_file(folder / "model.safetensors"),
        tokens=golden["tokens"],
        logits=golden["logits"],
        inverse_frequencies=golden.get("inverse_frequencies"),
    )


@pytest.fixture
def golden_model():
    return load


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        names = sorted(path.parent.name for path in FAMILIES.glob("*/golden.safetensors"))
        metafunc.parametrize("case", names)
