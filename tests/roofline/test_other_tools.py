"""Figures of other tools follow from ours by what they count otherwise (reports/other_tools)."""

import runpy
from pathlib import Path

import pytest

STUDY = Path(__file__).parents[2] / "reports" / "other_tools" / "study.py"


@pytest.fixture(scope="module")
def figures():
    study = runpy.run_path(str(STUDY))
    return {(f.tool, f.what): f for f in [*study["genz"](), *study["llm_analysis"]()]}


def test_every_figure_is_explained(figures):
    assert len(figures) == 15
    for figure in figures.values():
        assert figure.explained == pytest.approx(figure.theirs, rel=5e-4), figure.what


def test_what_is_called_the_same_is_the_same(figures):
    for figure in figures.values():
        if figure.reason == "the same":
            assert figure.ours == figure.explained


def test_exact_counts_are_exact(figures):
    for what in ("weights, GB", "prompt, 1e12 operations", "cache, MB"):
        figure = figures["llm-analysis", what]
        assert figure.explained == pytest.approx(figure.theirs, rel=1e-12)


def test_ours_are_other_numbers(figures):
    # 7.4 % more bandwidth than the machine has; hidden pairs, logits and a product for embeddings.
    token = figures["GenZ", "token, A100 80 GB, ms"]
    assert token.ours / token.theirs == pytest.approx(2**30 / 1e9, rel=2e-4)
    prompt = figures["GenZ", "prompt, 1e12 operations"]
    assert prompt.theirs / prompt.ours == pytest.approx(1.0786, rel=1e-3)
