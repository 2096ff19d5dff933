import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from sim.model.config import RopeConfig
from sim.model.families import config_from_hf
from sim.model.rope import inverse_frequencies, rope_tables, rotate


def test_frequencies_are_those_of_transformers(case, golden_model):
    golden = golden_model(case)
    if golden.inverse_frequencies is None:
        assert golden.config.rope is None
        return
    ours = inverse_frequencies(golden.config.rope, len(golden.tokens))
    # transformers computes frequencies in float32: a power, a division and a scaling.
    np.testing.assert_allclose(ours, golden.inverse_frequencies, rtol=4 * 2.0**-24)


YARN = Path(__file__).parents[2] / "golden" / "families" / "yarn.json"


@pytest.mark.parametrize("golden", json.loads(YARN.read_text())["cases"])
def test_yarn_is_that_of_transformers(golden):
    config = config_from_hf(golden["config"])
    ours = inverse_frequencies(config.rope, config.max_positions)
    # transformers computes the ramp and its mean in float32.
    np.testing.assert_allclose(ours, golden["inverse_frequencies"], rtol=8 * 2.0**-24)
    assert config.rope.attention_factor == golden["attention_factor"]


def test_rotation_by_hand():
    # Position 1 turns the pair (1, 0) by one radian; values after the first ``dim`` are unchanged.
    tables = rope_tables(RopeConfig(dim=2), 2)
    x = jnp.float32([[[1.0, 0.0, 5.0], [1.0, 0.0, 5.0]]])
    expected = [[[1.0, 0.0, 5.0], [np.cos(1.0), np.sin(1.0), 5.0]]]
    np.testing.assert_allclose(rotate(x, tables), expected, rtol=2.0**-22)


def test_a_rotated_dot_product_depends_on_the_distance_alone():
    rope = RopeConfig(dim=16)
    q, k = np.random.default_rng(0).standard_normal((2, 1, 1, 16)).astype(np.float32)
    rows = [rotate(jnp.tile(x, (1, 40, 1)), rope_tables(rope, 40))[0] for x in (q, k)]
    scores = np.asarray(rows[0] @ rows[1].T)
    np.testing.assert_allclose(scores[10, 3], scores[37, 30], atol=1e-4)


def test_angles_at_far_positions_are_as_exact_as_float32_allows():
    rope = RopeConfig(dim=64, theta=100000.0)
    cos, sin = rope_tables(rope, 8192)
    angles = np.arange(8192)[:, None] * inverse_frequencies(rope, 8192).astype(np.float64)
    # The angle itself, up to 8191, is rounded to float32: half a unit there is 2**-12.
    np.testing.assert_allclose(cos, np.cos(angles), atol=2.0**-12 + 2.0**-23)
    np.testing.assert_allclose(sin, np.sin(angles), atol=2.0**-12 + 2.0**-23)
