"""Decoding token by token against the logits of whole windows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sim.model.decode import decode_step, empty_cache

TOLERANCE = 2.0**-15
step = jax.jit(decode_step, static_argnums=4)


@pytest.mark.parametrize("family", ["mistral", "gemma2", "opt"])
def test_tokens_one_by_one_give_the_windows_logits(family, golden_model):
    golden = golden_model(family)
    config, params = golden.config, golden.params()
    cache = empty_cache(config, len(golden.tokens) + 3)
    found = []
    for position, token in enumerate(golden.tokens):
        row, cache = step(params, jnp.int32(token), jnp.int32(position), cache, config)
        found.append(np.asarray(row))
    error = np.abs(np.stack(found) - golden.logits).max() / golden.logits.std()
    assert error < TOLERANCE


def test_a_cache_has_room(golden_model):
    with pytest.raises(ValueError, match="a cache for 0 tokens"):
        empty_cache(golden_model("llama").config, 0)
