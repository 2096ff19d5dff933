"""How near a calibration text is to the scored one."""

import numpy as np

from sim.calibration.text import Calibration, shared_phrases
from sim.sources.embedded import calibration_text, held_out_text, second_text
from sim.sources.text import Text

TOKENS = np.zeros((2, 8), np.int32)


def about(text, scored):
    return Calibration(text=text, tokens=TOKENS).about(scored)


def made(content, name="mine"):
    return Text(name=name, content=content, sha256=str(hash(content)))


def test_the_report_says_how_near_the_texts_are():
    words = [f"w{i}" for i in range(400)]
    text, half = made(" ".join(words)), made(" ".join(words[200:]))
    other = made(" ".join(reversed(words)))
    assert about(text, text) == "mine, 2 windows of 8 tokens; the scored text itself"
    assert "overlaps the scored text: 48% of its phrases occur there" in about(text, half)
    assert "another text: 0.0% of its phrases of 13 words occur" in about(text, other)


def test_the_built_in_texts_share_a_corpus_but_no_document():
    assert "corpus, without a document of it" in about(calibration_text(), held_out_text())
    assert shared_phrases(calibration_text().content, held_out_text().content) < 0.01
    assert shared_phrases(calibration_text().content, second_text().content) == 0
    assert shared_phrases("too short", "too short") == 0
