"""What linear layers read, against what they read in the whole model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sim.model.forward
from sim.model.capture import layer_inputs
from sim.model.forward import hidden_states


@pytest.mark.parametrize(
    "family", ["llama", *(pytest.param(f, marks=pytest.mark.slow) for f in ("gemma2", "opt"))]
)
def test_inputs_are_those_of_the_forward_pass(family, golden_model, monkeypatch):
    golden = golden_model(family)
    config, params = golden.config, golden.params()
    tokens = jnp.asarray(golden.tokens)
    seen = []
    original = sim.model.forward.linear

    def spy(x, *rest):
        seen.append(np.asarray(x))
        return original(x, *rest)

    with jax.disable_jit():
        with monkeypatch.context() as patch:
            patch.setattr(sim.model.forward, "linear", spy)
            hidden_states(params, tokens, config)
        last = config.layers - 1
        parts = ("self_attn.k_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj")
        for i, part in enumerate(parts):
            found = layer_inputs(params, tokens, config, f"layers.{last}.{part}")
            assert np.allclose(found, seen[4 * last + i], rtol=1e-5, atol=1e-6), part


def test_unknown_layers_are_refused(golden_model):
    golden = golden_model("llama")
    with pytest.raises(ValueError, match="no linear layer 'lm_head'"):
        layer_inputs(golden.params(), jnp.asarray(golden.tokens), golden.config, "lm_head")
