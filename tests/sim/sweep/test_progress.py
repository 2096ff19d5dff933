"""The line of a finished point, and of the one being measured."""

from types import SimpleNamespace

import pytest
from rich.console import Console

from sim.sweep.progress import ProgressObserver, point_line


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


def test_the_last_block_is_shown_behind_the_point():
    observer = ProgressObserver(Console(), as_json=False)
    observer.start(3, 1000)
    observer.point("float32")
    observer.point("int4 gptq")
    observer.block("block 1/30", 1)
    observer.block("block 2/30, output error 1.50 %", 2)
    (task,) = observer._progress.tasks
    assert task.description == "point 2/3 int4 gptq, block 2/30, output error 1.50 %"
