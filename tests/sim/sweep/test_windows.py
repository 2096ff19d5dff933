import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.errors import UserError
from sim.sources.text import Text
from sim.sweep.windows import take_windows


class Letters:
    """A tokenizer whose ids are Unicode code points."""

    def __init__(self, *prefix_ids):
        self.prefix_ids = prefix_ids

    def encode(self, text):
        return np.array([ord(c) for c in text], np.int32)


def text_of(length):
    return Text(name="letters", content="".join(chr(i) for i in range(length)), sha256="0")


def test_windows_follow_each_other_from_the_start():
    windows = take_windows(text_of(10), Letters(), tokens=9, context=4, spread=False)
    assert windows.tokens.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert windows.scored == 6
    assert windows.sampling == (
        "2 non-overlapping windows of 4 tokens, consecutive from the start of the text; "
        "every position but the first of a window is scored"
    )


def test_spread_windows_reach_both_ends():
    windows = take_windows(text_of(11), Letters(), tokens=9, context=3, spread=True)
    assert windows.tokens.tolist() == [[0, 1, 2], [4, 5, 6], [8, 9, 10]]


def test_one_spread_window_is_the_first():
    windows = take_windows(text_of(11), Letters(), tokens=4, context=4, spread=True)
    assert windows.tokens.tolist() == [[0, 1, 2, 3]]


def test_each_window_starts_with_the_models_start_token():
    windows = take_windows(text_of(6), Letters(99), tokens=8, context=4, spread=False)
    assert windows.tokens.tolist() == [[99, 0, 1, 2], [99, 3, 4, 5]]
    assert "each after a start-of-sequence token" in windows.sampling
    assert windows.scored == 6


def test_tokens_before_the_text_are_not_scored():
    windows = take_windows(text_of(6), Letters(99, 98), tokens=8, context=4, spread=False)
    assert windows.tokens.tolist() == [[99, 98, 0, 1], [99, 98, 2, 3]]
    assert (windows.scored, windows.unscored) == (4, 2)
    assert windows.sampling.endswith(
        "each after 2 special tokens; every position but the first 2 of a window is scored"
    )


def test_a_context_of_tokens_before_the_text_alone_is_refused():
    message = (
        "^--context 2 leaves no room for text after the 2 tokens that the model expects before it; "
        "raise --context$"
    )
    with pytest.raises(UserError, match=message):
        take_windows(text_of(6), Letters(99, 98), tokens=8, context=2, spread=False)


@given(
    length=st.integers(4, 60),
    context=st.integers(2, 12),
    tokens=st.integers(2, 60),
    spread=st.booleans(),
)
def test_windows_never_overlap_and_never_leave_the_text(length, context, tokens, spread):
    if tokens < context or tokens // context * context > length:
        with pytest.raises(UserError):
            take_windows(text_of(length), Letters(), tokens=tokens, context=context, spread=spread)
        return
    got = take_windows(text_of(length), Letters(), tokens=tokens, context=context, spread=spread)
    seen = got.tokens.ravel()
    assert len(np.unique(seen)) == len(seen) == tokens // context * context
    assert seen.max() < length


@pytest.mark.parametrize(
    ("length", "tokens", "context", "message"),
    [
        (9, 3, 4, r"^3 tokens are less than one window of 4; raise --tokens to 4 or lower --c"),
        (3, 8, 4, r"^text letters has 3 tokens, too short for one window of 4; give a longer te"),
        (
            9,
            12,
            4,
            r"^text letters has 9 tokens, too short for 3 windows of 4 tokens; lower --tokens to",
        ),
    ],
)
def test_a_text_that_is_too_short_is_refused(length, tokens, context, message):
    with pytest.raises(UserError, match=message):
        take_windows(text_of(length), Letters(), tokens=tokens, context=context, spread=False)
