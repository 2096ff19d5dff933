"""The line of a finished point."""

from types import SimpleNamespace

import pytest

from sim.sweep.progress import point_line


@pytest.mark.parametrize(
    ("recipe", "line"),
    [
        ("float32", "float32: perplexity 23.05 (1.3 s)"),
        ("int4", "int4: KL 0.0628 nats, perplexity 23.05 (1.3 s)"),
    ],
)
def test_a_point_shows_the_divergence_that_ranks_it(recipe, line):
    result = SimpleNamespace(recipe=recipe, kl_mean=0.06281, perplexity=23.0512, wall_s=1.31)
    assert point_line(result, reused=False) == line
    assert point_line(result, reused=True).endswith("(in the store)")
