import math
import re
from dataclasses import replace

import pytest

from sim.model.config import ModelConfig, RopeConfig

CONFIG = ModelConfig(
    family="llama",
    vocab_size=100,
    hidden_size=32,
    intermediate_size=48,
    layers=3,
    heads=4,
    kv_heads=2,
    head_dim=8,
    max_positions=64,
    rope=RopeConfig(dim=8),
)


def test_score_scale_is_the_root_of_the_head_size_unless_given():
    assert CONFIG.score_scale == 1 / math.sqrt(8)
    assert replace(CONFIG, attention_scale=0.5).score_scale == 0.5


def test_a_window_holds_for_all_layers_unless_said_otherwise():
    assert CONFIG.windows == (None, None, None)
    assert replace(CONFIG, sliding_window=7).windows == (7, 7, 7)
    some = replace(CONFIG, sliding_window=7, windowed_layers=(True, False, True))
    assert some.windows == (7, None, 7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 5}, "5 query heads can't share 2 key/value heads evenly"),
        (
            {"rope": RopeConfig(dim=10)},
            "10 values of a head rotate, but it has only 8",
        ),
        ({"windowed_layers": (True,)}, "windowed_layers has 1 entries for 3 layers"),
        ({"rope": None}, "positions must be either rotary or learned"),
        ({"learned_positions": True}, "positions must be either rotary or learned"),
    ],
)
def test_contradictions_are_refused(change, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        replace(CONFIG, **change)


def test_odd_rotary_dimensions_are_refused():
    message = "^rotary dimension must be even and at least 2, not 7$"
    with pytest.raises(ValueError, match=message):
        RopeConfig(dim=7)


def test_a_factor_belongs_to_every_frequency():
    message = (
        "3 rotary frequency factors given, but 4 frequencies belong to 8 rotating values of a head"
    )
    with pytest.raises(ValueError, match=f"^{message}$"):
        RopeConfig(dim=8, factors=(1.0, 2.0, 3.0))


def test_long_factors_hold_beyond_the_original_context():
    rope = RopeConfig(dim=2, factors=(1.0,), long_factors=(3.0,), original_max_positions=16)
    assert rope.factors_for(16) == (1.0,)
    assert rope.factors_for(17) == (3.0,)
